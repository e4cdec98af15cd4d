"""VM tests: each is a check of the flake, evaluates, and has a valid script. Nothing is booted."""

from __future__ import annotations

import ast
import re

import pytest

from support.nix import ROOT, evaluate, needs_nixpkgs

VM = ROOT / "tests/vm"
NAMES = sorted(path.stem for path in VM.glob("*.nix") if path.stem != "machines")


def test_every_vm_test_is_a_check_of_the_flake() -> None:
    text = (ROOT / "flake.nix").read_text(encoding="utf-8")
    listed = re.search(r"checks\.\$\{system\} = lib\.genAttrs \[(.*?)\]", text, re.DOTALL)
    assert listed
    assert sorted(re.findall(r'"([a-z-]+)"', listed[1])) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_script_is_python_with_assertions(name: str) -> None:
    script = VM / f"{name}.py"
    tree = ast.parse(script.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    # A script without these cannot fail.
    text = ast.unparse(tree)
    assert re.search(r"\bassert\b|\.succeed\(|\.wait_", text)


@needs_nixpkgs
@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.parametrize("name", NAMES)
def test_vm_test_evaluates(name: str) -> None:
    assert re.fullmatch(r"/nix/store/\S+-vm-test-run-\S+\.drv", evaluate(f'hosts.check "{name}"'))
