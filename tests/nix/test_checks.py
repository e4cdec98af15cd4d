"""VM tests: each is a check of the flake and has a valid script. Nothing is booted."""

from __future__ import annotations

import ast
import re

import pytest

from support.nix import ROOT, VM_TESTS

VM = ROOT / "tests/vm"


def test_every_vm_test_is_a_check_of_the_flake() -> None:
    text = (ROOT / "flake.nix").read_text(encoding="utf-8")
    listed = re.search(r"checks\.\$\{system\} = lib\.genAttrs \[(.*?)\]", text, re.DOTALL)
    assert listed
    assert sorted(re.findall(r'"([a-z-]+)"', listed[1])) == VM_TESTS


@pytest.mark.parametrize("name", VM_TESTS)
def test_script_is_python_with_assertions(name: str) -> None:
    script = VM / f"{name}.py"
    tree = ast.parse(script.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    # A script without these cannot fail.
    text = ast.unparse(tree)
    assert re.search(r"\bassert\b|\.succeed\(|\.wait_", text)
