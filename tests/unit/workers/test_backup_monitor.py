from __future__ import annotations

import json
import math
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from barnabee.backup import api_usage, drill_log, litestream, recordings_copy, snapshot_job, status
from barnabee.backup.drill_log import Drill
from barnabee.backup.litestream import Lag
from barnabee.core import settings as settings_module
from barnabee.core import system as system_module
from barnabee.core.errors import DependencyDown
from barnabee.core.metrics import Metrics
from barnabee.core.settings import Settings
from barnabee.store.provider import Keeper
from barnabee.workers import backup_scheduler as rounds_module
from barnabee.workers.backup_metrics import BackupMetrics
from barnabee.workers.backup_monitor import Backups
from barnabee.workers.backup_scheduler import Rounds
from support.backup import with_backup
from support.wait import until

SYSTEM = with_backup(system_module.load(), audio_to="/mnt/nas")
METRICS = (
    "process_start_time_seconds 900\n"
    'litestream_replica_operation_total{{operation="PUT",replica_type="s3"}} {}\n'
)


class World:
    """What the watch sees, changed by the test."""

    def __init__(self, settings: Settings, keeper: Keeper) -> None:
        self.now_s = 1000.0
        self.lag: Lag | None = Lag(5, 5)
        self.puts = 7
        self.metrics = Metrics("worker")
        shown = BackupMetrics.register(self.metrics)
        self.backups = Backups(SYSTEM, settings, keeper, shown, clock=lambda: self.now_s)

    async def ask(self, *_arguments: object) -> Lag:
        if self.lag is None:
            raise DependencyDown(dependency="litestream", reason="silent")
        return self.lag

    async def ask_metrics(self, *_arguments: object) -> str:
        return METRICS.format(self.puts)

    def shown(self) -> dict[str, float]:
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        found = (line.rsplit(" ", 1) for line in lines if line.startswith("barnabee_backup_"))
        return {name.removeprefix("barnabee_backup_"): float(value) for name, value in found}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BARNABEE_DATA", str(tmp_path))
    monkeypatch.setenv("DATABASE_PATH", str(tmp_path / "barnabee.db"))
    monkeypatch.setenv("BARNABEE_LITESTREAM_SOCKET", str(tmp_path / "socket"))
    monkeypatch.setenv("BARNABEE_BACKUP_CREDENTIALS", "")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    return settings_module.load(SYSTEM)


@pytest.fixture
async def world(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    keeper = Keeper(settings.database_path)
    keeper.start()
    world = World(settings, keeper)
    monkeypatch.setattr(litestream, "lag", world.ask)
    monkeypatch.setattr(litestream, "metrics", world.ask_metrics)
    yield world
    await keeper.close()


async def test_the_lag_in_time_counts_from_when_it_began_also_while_litestream_is_silent(
    world: World,
) -> None:
    await world.backups.look_at_lag()
    assert world.shown() == {"lag_transactions": 0, "lag_seconds": 0}
    world.lag = Lag(9, 5)
    await world.backups.look_at_lag()
    world.now_s += 40
    await world.backups.look_at_lag()
    assert world.shown() == {"lag_transactions": 4, "lag_seconds": 40}
    world.lag = None
    world.now_s += 20
    await world.backups.look_at_lag()
    assert world.shown()["lag_seconds"] == 60
    assert math.isnan(world.shown()["lag_transactions"])
    world.lag = Lag(9, 9)
    await world.backups.look_at_lag()
    assert world.shown() == {"lag_transactions": 0, "lag_seconds": 0}


async def test_copies_and_drills_are_shown_as_they_are_found(
    world: World, settings: Settings
) -> None:
    await world.backups.look_at_copies()
    assert world.shown() == {"audio_failures": 0}
    made = snapshot_job.run(SYSTEM, settings)
    drill_log.record(settings.database_path, Drill("2026-01-30T03:40:00.000Z", 9, 3, success=True))
    late = Drill("2026-01-31T03:40:00.000Z", 9, 3, success=False, step="replica: fetch")
    drill_log.record(settings.database_path, late)
    (settings.data_dir / recordings_copy.FILE).write_text(
        json.dumps({"at": "2026-01-31T12:00:00+00:00", "failures": 3, "reason": "away"})
    )
    await world.backups.look_at_copies()

    shown = world.shown()
    assert shown["last_snapshot_timestamp_seconds"] == made.at.timestamp()
    assert shown["drill_success"] == 0
    assert shown["drill_last_run_timestamp_seconds"] == 1769830800
    assert shown["last_verified_restore_timestamp_seconds"] == 1769744400
    assert shown["audio_failures"] == 3


async def test_calls_are_counted_into_the_day_and_shown(world: World, settings: Settings) -> None:
    await world.backups.count_calls()
    world.now_s, world.puts = 1060.0, 10
    await world.backups.count_calls()

    today = api_usage.read(settings.data_dir).of(datetime.fromtimestamp(1060, UTC).date())
    assert today.a == 10
    assert world.shown()['store_calls_today{class="a"}'] == 10
    assert world.shown()['store_calls_today{class="c"}'] == today.c > 0


async def test_a_drill_that_was_asked_for_is_started_as_a_process_of_its_own(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$CREDENTIALS_DIRECTORY $@" >> {tmp_path}/told\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr(rounds_module.sys, "executable", str(program))
    told = settings.model_copy(update={"backup_credentials": "/run/backup"})
    rounds = Rounds(SYSTEM, told)
    status.request_drill(settings)

    await rounds.step()
    await until((tmp_path / "told").exists)
    assert (tmp_path / "told").read_text() == "/run/backup -m barnabee backup drill --gentle\n"
    assert not status.requested(settings)
    await rounds.aclose()
    assert sys.executable == str(program)


async def test_a_clock_that_was_years_ahead_does_not_stop_the_rounds(settings: Settings) -> None:
    ahead, now = datetime(2033, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, 12, tzinfo=UTC)
    (settings.data_dir / "barnabee.db").unlink(missing_ok=True)
    Keeper(settings.database_path).start()
    snapshot_job.run(SYSTEM, settings, now=lambda: ahead)
    drill_log.record(settings.database_path, Drill(ahead.isoformat(), 9, 3, success=True))
    told = settings.model_copy(update={"backup_credentials": "/run/backup"})
    rounds = Rounds(SYSTEM, told, now=lambda: now)

    assert rounds._known().snapshot is None
    assert rounds._known().drill is None
    snapshot_job.run(SYSTEM, settings, now=lambda: now)
    assert rounds._known().snapshot == now
