"""Evaluation: its time compared with plain NixOS, and no import from derivation."""

from __future__ import annotations

import pytest

from support.nix import needs_nixpkgs, try_evaluate

pytestmark = [needs_nixpkgs, pytest.mark.timeout(600)]
RATIO_MAX = 1.5
TRIES = 3


def test_import_from_derivation_fails() -> None:
    done = try_evaluate("hosts.builds")
    assert done.returncode != 0
    assert "one.nix" in done.stderr
