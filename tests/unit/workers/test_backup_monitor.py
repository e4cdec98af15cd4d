"""Backup monitor, and the processes that its scheduler starts."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from barnabee.backup import drill, litestream, recordings_copy, snapshots, status
from barnabee.backup.drill import DrillResult
from barnabee.backup.litestream import ReplicationLag
from barnabee.backup.snapshots import SnapshotState
from barnabee.core import settings as settings_module
from barnabee.core import system as system_module
from barnabee.core.errors import DependencyDown
from barnabee.core.metrics import Metrics
from barnabee.core.settings import Settings
from barnabee.store.provider import DatabaseProvider
from barnabee.workers import backups as scheduler_module
from barnabee.workers.backups import BackupMonitor, BackupScheduler
from barnabee.workers.metrics import BackupMetrics
from support.backup import with_backup_settings
from support.clock import FakeClock
from support.wait import wait_until

SYSTEM = with_backup_settings(system_module.load_system(), audio_to="/mnt/nas")


class FakeLitestream:
    """Litestream with a settable lag, and the monitor under test."""

    def __init__(self, settings: Settings, provider: DatabaseProvider) -> None:
        self.clock = FakeClock()
        self.lag: ReplicationLag | None = ReplicationLag(5, 5)
        self.metrics = Metrics("worker")
        series = BackupMetrics.register(self.metrics)
        self.monitor = BackupMonitor(SYSTEM, settings, provider, series, clock=self.clock)

    async def measure_lag(self, *_arguments: object) -> ReplicationLag:
        if self.lag is None:
            raise DependencyDown(dependency="litestream", reason="no answer")
        return self.lag

    def read_series(self) -> dict[str, float]:
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        series = (line.rsplit(" ", 1) for line in lines if line.startswith("barnabee_backup_"))
        return {name.removeprefix("barnabee_backup_"): float(value) for name, value in series}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BARNABEE_DATA", str(tmp_path))
    monkeypatch.setenv("DATABASE_PATH", str(tmp_path / "barnabee.db"))
    monkeypatch.setenv("BARNABEE_LITESTREAM_SOCKET", str(tmp_path / "socket"))
    monkeypatch.setenv("BARNABEE_BACKUP_CREDENTIALS", "")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    return settings_module.read_settings(SYSTEM)


@pytest.fixture
async def fake(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FakeLitestream]:
    provider = DatabaseProvider(settings.database_path, before_migration=None)
    provider.prepare()
    fake = FakeLitestream(settings, provider)
    monkeypatch.setattr(litestream, "measure_lag", fake.measure_lag)
    yield fake
    await provider.close()


async def test_the_lag_in_seconds_grows_also_while_litestream_does_not_answer(
    fake: FakeLitestream,
) -> None:
    await fake.monitor.measure_lag()
    assert fake.read_series() == {"lag_transactions": 0, "lag_seconds": 0}
    fake.lag = ReplicationLag(9, 5)
    await fake.monitor.measure_lag()
    fake.clock.now_s += 40
    await fake.monitor.measure_lag()
    assert fake.read_series() == {"lag_transactions": 4, "lag_seconds": 40}
    fake.lag = None
    fake.clock.now_s += 20
    await fake.monitor.measure_lag()
    assert fake.read_series()["lag_seconds"] == 60
    assert math.isnan(fake.read_series()["lag_transactions"])
    fake.lag = ReplicationLag(9, 9)
    await fake.monitor.measure_lag()
    assert fake.read_series() == {"lag_transactions": 0, "lag_seconds": 0}


async def test_snapshots_copies_and_drills_are_exported(
    fake: FakeLitestream, settings: Settings
) -> None:
    await fake.monitor.measure_copies()
    assert fake.read_series() == {"audio_failures": 0}
    made_at = datetime(2026, 1, 31, 3, 10, tzinfo=UTC)
    snapshots.write_state(settings, SnapshotState("4c7de640", made_at.isoformat()))
    drill.record_drill(
        settings.database_path, DrillResult("2026-01-30T03:40:00.000Z", 9, 3, success=True)
    )
    late = DrillResult("2026-01-31T03:40:00.000Z", 9, 3, success=False, step="replica: fetch")
    drill.record_drill(settings.database_path, late)
    (settings.data_dir / recordings_copy.STATE_FILE).write_text(
        json.dumps({"at": "2026-01-31T12:00:00+00:00", "failures": 3, "reason": "away"})
    )
    await fake.monitor.measure_copies()

    series = fake.read_series()
    assert series["last_snapshot_timestamp_seconds"] == made_at.timestamp()
    assert series["drill_success"] == 0
    assert series["drill_last_run_timestamp_seconds"] == 1769830800
    assert series["last_verified_restore_timestamp_seconds"] == 1769744400
    assert series["audio_failures"] == 3


async def test_a_requested_drill_is_started_as_a_process(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text(
        f'#!/bin/sh\necho "$CREDENTIALS_DIRECTORY $@" > {tmp_path}/new\n'
        f"until [ $(nice) = 19 ]; do sleep 0.01; done\n"
        f"mv {tmp_path}/new {tmp_path}/arguments\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(scheduler_module.sys, "executable", str(program))
    local = settings.model_copy(update={"backup_credentials": "/run/backup"})
    scheduler = BackupScheduler(SYSTEM, local)
    status.request_drill(settings)

    await scheduler.step()
    await wait_until((tmp_path / "arguments").exists)
    assert (tmp_path / "arguments").read_text() == "/run/backup -m barnabee backup drill\n"
    assert not status.is_drill_requested(settings)
    await scheduler.aclose()
    assert sys.executable == str(program)


async def test_runs_recorded_in_the_future_do_not_delay_the_next_ones(settings: Settings) -> None:
    ahead, now = datetime(2033, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, 12, tzinfo=UTC)
    (settings.data_dir / "barnabee.db").unlink(missing_ok=True)
    DatabaseProvider(settings.database_path, before_migration=None).prepare()
    snapshots.write_state(settings, SnapshotState("4c7de640", ahead.isoformat()))
    drill.record_drill(settings.database_path, DrillResult(ahead.isoformat(), 9, 3, success=True))
    local = settings.model_copy(update={"backup_credentials": "/run/backup"})
    scheduler = BackupScheduler(SYSTEM, local, now=lambda: now)

    assert scheduler._read_last_runs().snapshot is None
    assert scheduler._read_last_runs().drill is None
    snapshots.write_state(settings, SnapshotState("4c7de640", now.isoformat()))
    assert scheduler._read_last_runs().snapshot == now
