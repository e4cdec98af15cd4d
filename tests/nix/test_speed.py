"""Evaluation: its time compared with plain NixOS, and no import from derivation."""

from __future__ import annotations

import time

import pytest

from support.nix import evaluate, needs_nixpkgs, try_evaluate

pytestmark = [needs_nixpkgs, pytest.mark.timeout(600)]
RATIO_MAX = 1.5
TRIES = 3


def timed_s(expression: str) -> float:
    begun = time.perf_counter()
    assert evaluate(expression).endswith(".drv")
    return time.perf_counter() - begun


@pytest.mark.bench
def test_host_evaluates_almost_as_fast_as_nixos_with_the_same_services() -> None:
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(TRIES):  # alternating, so that other load affects both
        bare.append(timed_s("hosts.bare"))
        ours.append(timed_s("hosts.hosts.barnabee-core.config.system.build.toplevel.drvPath"))
    print(f"barnabee-core {min(ours):.2f} s, the same services of nixpkgs {min(bare):.2f} s")
    assert min(ours) <= RATIO_MAX * min(bare)


def test_import_from_derivation_fails() -> None:
    done = try_evaluate("hosts.builds")
    assert done.returncode != 0
    assert "one.nix" in done.stderr
