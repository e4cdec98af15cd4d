"""Backup status: replica, snapshots and drills in one JSON object, with warnings."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from barnabee.backup import (
    consistent_copy,
    drill,
    litestream,
    recordings_copy,
    restore,
    restore_points,
    snapshot_job,
    snapshots,
)
from barnabee.core.errors import DependencyDown, SettingInvalid
from barnabee.core.schema import System
from barnabee.core.settings import Settings

DRILL_REQUEST_FILE = "drill.request"
MAX_RESTORE_POINTS = 5
MAX_DRILLS = 30
# The outcome of a drill says nothing about a program that was just started or deployed.
JUDGED_AFTER_S = 900.0
# What was missed while the machine was off is made up for by then.
OVERDUE_AFTER_S = 7200.0


async def collect_status(system: System, settings: Settings, now: datetime) -> dict[str, Any]:
    """Return the status; `now` is local time."""
    replica, rest = await asyncio.gather(
        _replica_status(system, settings), asyncio.to_thread(_local_status, system, settings, now)
    )
    found = {"replica": replica, **rest}
    return found | {"warnings": list_warnings(found, system, now)}


def local_now(settings: Settings) -> datetime:
    """Return the time in BARNABEE_TIME_ZONE, or in the machine's zone when it is empty."""
    now = datetime.now().astimezone()
    if not settings.time_zone:
        return now
    try:
        return now.astimezone(ZoneInfo(settings.time_zone))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        hint = "write a name like Europe/Berlin"
        reason = f"it is {settings.time_zone!r}"
        raise SettingInvalid(name="BARNABEE_TIME_ZONE", reason=reason, hint=hint) from error


def request_drill(settings: Settings) -> None:
    """Request a drill now: the process that starts drills on this machine polls for this file."""
    (settings.data_dir / DRILL_REQUEST_FILE).touch(mode=0o660)


def is_drill_requested(settings: Settings) -> bool:
    """Return whether a drill is requested and has not begun."""
    return (settings.data_dir / DRILL_REQUEST_FILE).exists()


def clear_drill_request(settings: Settings) -> None:
    (settings.data_dir / DRILL_REQUEST_FILE).unlink(missing_ok=True)


def next_time_of_day(clock: str, now: datetime) -> datetime:
    """Return the next time after `now` at which it is `clock` (HH:MM) in its time zone. Pure."""
    hour, minute = map(int, clock.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def list_warnings(found: dict[str, Any], system: System, now: datetime) -> list[str]:
    """Return a sentence for each thing that needs attention. Pure."""
    oldest = now - timedelta(hours=system.backup.stale_after_h)
    candidates = (
        _replica_warning(found["replica"]),
        _snapshot_warning(found["snapshot"], oldest),
        found["snapshot"]["missing"],
        *_kit_warnings(found),
        _drill_warning(found["drill"]["last"], oldest),
        found["audio"]["failures"] and f"recordings are not copied: {found['audio']['reason']}",
    )
    return [warning for warning in candidates if warning]


def find_problem(system: System, settings: Settings, now: datetime, up_s: float) -> str | None:
    """Return why backups are degraded: a failed drill, or an overdue drill or snapshot (blocks).

    `up_s` is the uptime of the service that asks. On the first day nothing is overdue.
    """
    if up_s < JUDGED_AFTER_S:
        return None
    history, _ = _read_drills(settings.database_path)
    last = history[-1].as_dict() if history else None
    if last and not last["success"]:
        return _drill_warning(last, now)
    oldest = now - timedelta(hours=system.backup.stale_after_h)
    if up_s < OVERDUE_AFTER_S or _created_at(settings.database_path) > oldest:
        return None
    snapshot = _snapshot_status(snapshots.read_state(settings))
    return (
        _drill_warning(last, oldest) or _snapshot_warning(snapshot, oldest) or snapshot["missing"]
    )


def _replica_warning(replica: dict[str, Any]) -> str | None:
    lag = replica["lag_transactions"]
    return replica["error"] or (lag and f"{lag} transactions are not in the replica yet")


def _snapshot_warning(snapshot: dict[str, Any], oldest: datetime) -> str | None:
    if snapshot["at"] is None:
        return "there is no snapshot yet"
    old = datetime.fromisoformat(snapshot["at"]) < oldest
    return f"the newest snapshot is of {snapshot['at']}" if old else None


def _kit_warnings(found: dict[str, Any]) -> list[str]:
    warnings = []
    if found["snapshot"]["encrypted"] and not found["recovery_kit"]:
        warnings.append(
            "the recovery kit is not printed, or its address or password has changed: "
            "run `barnabee backup kit`"
        )
    if not found["offsite"]:
        warnings.append("snapshots stay on this machine: set backup.offsite")
    return warnings


def _drill_warning(last: dict[str, Any] | None, oldest: datetime) -> str | None:
    if last is None:
        return "there was no drill yet"
    if not last["success"]:
        return f"the last drill failed at the step `{last['step']}`: {last['reason']}"
    old = datetime.fromisoformat(last["started_at"]) < oldest
    return f"the last drill was on {last['started_at']}" if old else None


async def _replica_status(system: System, settings: Settings) -> dict[str, Any]:
    url = litestream.replica_url(system, settings)
    empty = {"url": url, "txid": None, "lag_transactions": None, "error": None}
    if not settings.litestream_socket:
        return empty | {"error": "litestream is not configured here"}
    try:
        found = await litestream.measure_lag(
            Path(settings.litestream_socket), settings.database_path
        )
    except DependencyDown as error:
        return empty | {"error": str(error)}
    return empty | {"txid": found.local_txid, "lag_transactions": found.transactions}


def _local_status(system: System, settings: Settings, now: datetime) -> dict[str, Any]:
    database, data = settings.database_path, settings.data_dir
    state = snapshots.read_state(settings)
    history, good = _read_drills(database)
    last = history[-1] if history else None
    return {
        "snapshot": _snapshot_status(state)
        | {"next_at": next_time_of_day(system.backup.snapshot_at, now).isoformat()},
        "drill": {
            "last": last.as_dict() if last else None,
            "last_verified_at": good.started_at if good else None,
            "next_at": next_time_of_day(system.backup.drill_at, now).isoformat(),
            "requested": is_drill_requested(settings),
            "history": [result.as_dict() for result in history],
        },
        "recovery_kit": snapshot_job.is_printed(state),
        "offsite": system.backup.offsite or None,
        "audio": asdict(recordings_copy.read_state(data)) | {"to": system.backup.audio_to or None},
        "pins": [
            asdict(point)
            for point in reversed(
                restore_points.list_restore_points(database)[-MAX_RESTORE_POINTS:]
            )
        ],
        "restored": restore.read_last_restore(database),
    }


def _snapshot_status(state: snapshots.SnapshotState) -> dict[str, Any]:
    return {
        "newest": state.id,
        "at": state.at,
        "bytes": state.bytes if state.at else None,
        "encrypted": state.id is not None if state.at else None,
        "count": state.count,
        "missing": state.missing,
    }


def _read_drills(database: Path) -> tuple[list[drill.DrillResult], drill.DrillResult | None]:
    try:
        with closing(consistent_copy.connect_live(database, "ro")) as connection:
            history = drill.list_drills(connection, MAX_DRILLS)
            return history[::-1], drill.newest_drill(connection, successful=True)
    except sqlite3.Error:
        return [], None


def _created_at(database: Path) -> datetime:
    """Return when the database got its first schema; the distant future when it is unreadable."""
    try:
        with closing(consistent_copy.connect_live(database, "ro")) as connection:
            row = connection.execute("SELECT min(applied_at) FROM migrations").fetchone()
        return datetime.fromisoformat(row[0])
    except (sqlite3.Error, TypeError, ValueError):
        return datetime.max.replace(tzinfo=UTC)
