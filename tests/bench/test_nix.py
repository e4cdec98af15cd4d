"""Evaluation time of a host compared with plain NixOS."""

from __future__ import annotations

import time

import pytest

from support.benchmark import choose_size, is_at_most
from support.nix import evaluate, needs_nixpkgs

RATIO_MAX = 1.5
TRIES = choose_size(3, 1)


def timed_s(expression: str) -> float:
    begun = time.perf_counter()
    assert evaluate(expression).endswith(".drv")
    return time.perf_counter() - begun


@needs_nixpkgs
@pytest.mark.timeout(600)
def test_host_evaluates_almost_as_fast_as_nixos_with_the_same_services() -> None:
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(TRIES):  # alternating, so that other load affects both
        bare.append(timed_s("hosts.bare"))
        ours.append(timed_s("hosts.hosts.barnabee-core.config.system.build.toplevel.drvPath"))
    print(f"barnabee-core {min(ours):.2f} s, the same services of nixpkgs {min(bare):.2f} s")
    assert is_at_most(min(ours), RATIO_MAX * min(bare))
