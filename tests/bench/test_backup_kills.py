"""Turns lost with the disk in a hundred rounds of `kill -9`: at most one sync interval."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.benchmark import choose_size, is_at_most
from support.kill_storm import make_storm
from support.replica import ReplicatedDeployment

ROUNDS = choose_size(100, 4)
# From the commit to the object, beyond the sync interval: the transfer, on two busy cores.
UPLOAD_S = 1.0


@pytest.mark.timeout(900)
async def test_a_hundred_kills_lose_at_most_the_sync_interval(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    with make_storm(deployment, tmp_path / "notes") as storm:
        await storm.run_rounds(ROUNDS, tmp_path / "restored.db")
    interval_s = deployment.system.replica.sync_interval_ms / 1000
    assert is_at_most(max(storm.windows_s), interval_s + UPLOAD_S)
