#!/bin/sh
# Removes the wheels of other Python versions from poetry.lock (poetry2nix fails on some of their names) and
# writes requirements/*.txt from it. Needs Poetry 1.8 with poetry-plugin-export: 1.8 is the last that writes
# lock-version 2.0, which poetry2nix reads. A test compares these files with the lock.
set -eu
cd "$(dirname "$0")/.."
others='cp2[0-9]|cp3([0-9]|1[02-9])t?|cp311t|pp[0-9]+|pypy[0-9]+_?[a-z0-9]*|graalpy[0-9]+'
sed -i -E "/riscv64/d; /-($others)-[^\"]*\.whl\"/{/-abi3-/!d}" poetry.lock
poetry export --quiet --extras local --output requirements/default.txt
poetry export --quiet --extras local --with dev --output requirements/dev.txt
poetry export --quiet --extras gpu --output requirements/gpu.txt
