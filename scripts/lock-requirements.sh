#!/bin/sh
# Resolves pyproject.toml: writes poetry.lock for Nix (Python 3.11, lock-version 2.0, which poetry2nix reads)
# and from its versions requirements/*.txt for every supported Python. Needs Poetry 1.8 and uv. Arguments
# go to `poetry lock`: with none, locked versions stay; `--upgrade` takes the newest.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# Poetry and uv must see the project's metadata, not its sources.
mkdir -p "$work/src/barnabee"
touch "$work/src/barnabee/__init__.py" "$work/README.md" "$work/system.toml"
cp "$root/poetry.lock" "$work/"
sed 's/^python = ">=3.11,<3.14"/python = ">=3.11,<3.12"/' "$root/pyproject.toml" >"$work/pyproject.toml"
cd "$work"
if [ "${1:-}" = --upgrade ]; then poetry lock; else poetry lock --no-update; fi
# Wheels of other Pythons are not Nix's business, and poetry2nix fails on some of their names.
others='cp2[0-9]|cp3([0-9]|1[02-9])t?|cp311t|pp[0-9]+|pypy[0-9]+_?[a-z0-9]*|graalpy[0-9]+'
sed -i -E "/riscv64/d; /-($others)-[^\"]*\.whl\"/{/-abi3-/!d}" poetry.lock
cp poetry.lock "$root/"

cp "$root/pyproject.toml" .
python3 - <<'PYTHON'
import pathlib, tomllib

lock = tomllib.loads(pathlib.Path("poetry.lock").read_text())
lines = [f"{package['name']}=={package['version']}\n" for package in lock["package"]]
pathlib.Path("constraints.txt").write_text("".join(lines))
poetry = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["tool"]["poetry"]
names = poetry["group"]["dev"]["dependencies"]
pathlib.Path("dev.in").write_text("".join(f"{name}\n" for name in names))
pathlib.Path("node.in").write_text("".join(f"{name}\n" for name in poetry["extras"]["node"]))
PYTHON
compile_list() {
    name=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --constraints constraints.txt --output-file "$root/requirements/$name.txt" "$@"
}
compile_list default pyproject.toml --extra local
compile_list dev pyproject.toml dev.in --extra local
compile_list gpu pyproject.toml --extra gpu
compile_list node node.in
