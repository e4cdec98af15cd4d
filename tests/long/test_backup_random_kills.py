"""`kill -9` at random times: the restored database is intact and has all that was replicated."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.kill_storm import make_storm
from support.replica import ReplicatedDeployment

ROUNDS = 20  # tests/bench/test_backup_kills.py has a hundred, with a limit for the loss


@pytest.mark.timeout(900)
async def test_random_kills_lose_nothing_that_was_replicated(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    with make_storm(deployment, tmp_path / "notes") as storm:
        await storm.run_rounds(ROUNDS, tmp_path / "restored.db")
