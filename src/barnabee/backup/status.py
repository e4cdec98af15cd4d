"""Backup status: replica, snapshots and drills in one JSON object, with warnings."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from barnabee.backup import (
    cold_start,
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
from barnabee.core.health import Degraded
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
    """Return the status; SettingInvalid when BARNABEE_TIME_ZONE is no time zone."""
    replica, rest = await asyncio.gather(
        _replica_status(system, settings), asyncio.to_thread(_local_status, system, settings, now)
    )
    found = {"replica": replica, **rest}
    return found | {"warnings": list_warnings(found, system, now)}


def find_time_zone(settings: Settings) -> tzinfo | None:
    """Return BARNABEE_TIME_ZONE; None, which is the machine's zone, when it is empty."""
    if not settings.time_zone:
        return None
    try:
        return ZoneInfo(settings.time_zone)
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


def last_due_time(clock: str, now: datetime, zone: tzinfo | None) -> datetime:
    """Return the last instant, at or before `now`, at which it was `clock` (HH:MM) in `zone`.

    Once a day: a time that daylight saving skips is due an hour later, the first of two counts.
    """
    return max(instant for instant in _list_due_times(clock, now, zone) if instant <= now)


def next_due_time(clock: str, now: datetime, zone: tzinfo | None) -> datetime:
    """Return the first instant after `now` at which it is `clock` (HH:MM) in `zone`."""
    return min(instant for instant in _list_due_times(clock, now, zone) if instant > now)


def _list_due_times(clock: str, now: datetime, zone: tzinfo | None) -> list[datetime]:
    """Return the instants, in UTC, at which it is `clock` on the days around `now`."""
    today, at = now.astimezone(zone).date(), time.fromisoformat(clock)
    days = (datetime.combine(today + timedelta(days=offset), at, zone) for offset in range(-2, 3))
    # Not `astimezone`: it takes a naive time that daylight saving skips for an hour earlier.
    return [datetime.fromtimestamp(day.timestamp(), UTC) for day in days]


def list_warnings(found: dict[str, Any], system: System, now: datetime) -> list[str]:
    """Return a sentence for each thing that needs attention. Pure."""
    oldest = now - timedelta(hours=system.backup.stale_after_h)
    candidates = (
        _substitute_warning(found["substitute"]),
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
    if warning := _substitute_warning(_read_substitute(settings)):
        return warning
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


def _substitute_warning(substitute: dict[str, str] | None) -> str | None:
    if substitute is None:
        return None
    return (
        f"on {substitute['at']} {substitute['source']} was used, so that newer data may be missing "
        f"({substitute['reason']}): see docs/runbooks/SubstituteUsed.md, then run "
        "`barnabee backup acknowledge`"
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
    return empty | {
        "txid": found.local_txid,
        "lag_transactions": found.transactions,
        "error": str(found.failure) if found.failure else None,
    }


def _local_status(system: System, settings: Settings, now: datetime) -> dict[str, Any]:
    database, data = settings.database_path, settings.data_dir
    state = snapshots.read_state(settings)
    history, good = _read_drills(database)
    last = history[-1] if history else None
    return {
        "snapshot": _snapshot_status(state)
        | {"next_at": _next_at(system.backup.snapshot_at, settings, now)},
        "drill": {
            "last": last.as_dict() if last else None,
            "last_verified_at": good.started_at if good else None,
            "next_at": _next_at(system.backup.drill_at, settings, now),
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
        "substitute": _read_substitute(settings),
    }


def _next_at(clock: str, settings: Settings, now: datetime) -> str:
    zone = find_time_zone(settings)
    return next_due_time(clock, now, zone).astimezone(zone).isoformat()


def _read_substitute(settings: Settings) -> dict[str, str] | None:
    substitute = cold_start.read_substitute(settings.data_dir)
    return asdict(substitute) if substitute else None


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


async def check_replica(socket: Path, database_path: Path, allowed_txids: int) -> Degraded | None:
    """Health check of the replica (soft): Degraded while more than `allowed_txids` are missing."""
    found = await litestream.measure_lag(socket, database_path)
    if found.transactions <= allowed_txids:
        return None
    if not found.replica_txid:
        raise found.failure or DependencyDown(
            dependency="replica", reason="litestream cannot reach it"
        )
    code = found.failure.code if found.failure else "replica_behind"
    return Degraded(code, found.describe())
