"""VM tests: each evaluates. Nothing is booted."""

from __future__ import annotations

import re

import pytest

from support.nix import VM_TESTS, evaluate, needs_nixpkgs


@needs_nixpkgs
@pytest.mark.timeout(500)
@pytest.mark.parametrize("name", VM_TESTS)
def test_vm_test_evaluates(name: str) -> None:
    assert re.fullmatch(r"/nix/store/\S+-vm-test-run-\S+\.drv", evaluate(f'hosts.check "{name}"'))
