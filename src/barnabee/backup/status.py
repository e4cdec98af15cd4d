"""How safe what the house remembers is, in one answer: for people, the dashboard and metrics."""

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
    api_usage,
    consistent_copy,
    drill_log,
    keys,
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

REQUEST = "drill.request"
PINS_TOLD = 5
DRILLS_TOLD = 30


async def look(system: System, settings: Settings, now: datetime) -> dict[str, Any]:
    """Return everything; `now` has the house's time zone."""
    replica, rest = await asyncio.gather(
        _replica(system, settings), asyncio.to_thread(_rest, system, settings, now)
    )
    found = {"replica": replica, **rest}
    return found | {"warnings": warnings(found, system, now)}


def house_now(settings: Settings) -> datetime:
    """Return the time by the house's clock; the machine's own zone when none is named."""
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
    """Ask for a drill now: whoever runs drills on this machine looks for this file."""
    (settings.data_dir / REQUEST).touch(mode=0o660)


def requested(settings: Settings) -> bool:
    """Return whether somebody asked for a drill that has not begun."""
    return (settings.data_dir / REQUEST).exists()


def begun(settings: Settings) -> None:
    """Take note that a drill has begun."""
    (settings.data_dir / REQUEST).unlink(missing_ok=True)


def next_at(clock: str, now: datetime) -> datetime:
    """Return when it will be `clock` (HH:MM) next, after `now` and in its time zone. Pure."""
    hour, minute = map(int, clock.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def warnings(found: dict[str, Any], system: System, now: datetime) -> list[str]:
    """Return what somebody should know, a sentence each. Pure."""
    oldest = now - timedelta(hours=system.backup.stale_after_h)
    told = (
        _of_replica(found["replica"]),
        _of_snapshot(found["snapshot"], oldest),
        _of_place(found),
        _of_drill(found["drill"]["last"], oldest),
        *_of_calls(found["calls_today"]),
        found["audio"]["failures"] and f"recordings are not copied: {found['audio']['reason']}",
    )
    return [one for one in told if one]


def _of_replica(replica: dict[str, Any]) -> str | None:
    lag = replica["lag_transactions"]
    return replica["error"] or (lag and f"{lag} transactions are not in the replica yet")


def _of_snapshot(snapshot: dict[str, Any], oldest: datetime) -> str | None:
    if snapshot["newest"] is None:
        return "there is no snapshot yet"
    old = datetime.fromisoformat(snapshot["at"]) < oldest
    return f"the newest snapshot is of {snapshot['at']}" if old else None


def _of_place(found: dict[str, Any]) -> str | None:
    if not found["recovery_key"]:
        return "snapshots are not encrypted and stay on this machine: `barnabee backup kit`"
    return None if found["offsite"] else "snapshots stay on this machine: set backup.offsite"


def _of_drill(last: dict[str, Any] | None, oldest: datetime) -> str | None:
    if last is None:
        return "no drill has been done yet"
    if not last["success"]:
        return f"the last drill failed at the step `{last['step']}`: {last['reason']}"
    old = datetime.fromisoformat(last["started_at"]) < oldest
    return f"the last drill was on {last['started_at']}" if old else None


def _of_calls(today: dict[str, int]) -> list[str]:
    return [
        f"{today[kind]} calls of class {kind.upper()} today, {today[f'free_{kind}']} are free"
        for kind in ("b", "c")
        if today[kind] > today[f"free_{kind}"]
    ]


async def _replica(system: System, settings: Settings) -> dict[str, Any]:
    url = litestream.replica_url(system, settings)
    empty = {"url": url, "txid": None, "lag_transactions": None, "error": None}
    if not settings.litestream_socket:
        return empty | {"error": "litestream is not configured here"}
    try:
        found = await litestream.lag(Path(settings.litestream_socket), settings.database_path)
    except DependencyDown as error:
        return empty | {"error": str(error)}
    return empty | {"txid": found.local_txid, "lag_transactions": found.txids}


def _rest(system: System, settings: Settings, now: datetime) -> dict[str, Any]:
    database, data = settings.database_path, settings.data_dir
    here = snapshots.every(snapshot_job.folder_of(settings))
    newest = here[-1] if here else None
    history, good = _drills(database)
    last = history[-1] if history else None
    today = api_usage.read(data).of(now.astimezone(UTC).date())
    return {
        "snapshot": {
            "newest": newest.name if newest else None,
            "at": newest.at.isoformat() if newest else None,
            "bytes": newest.packed.file_bytes if newest else None,
            "encrypted": newest.encrypted if newest else None,
            "count": len(here),
            "next_at": next_at(system.backup.snapshot_at, now).isoformat(),
        },
        "drill": {
            "last": last.as_dict() if last else None,
            "last_verified_at": good.started_at if good else None,
            "next_at": next_at(system.backup.drill_at, now).isoformat(),
            "requested": requested(settings),
            "history": [one.as_dict() for one in history],
        },
        "calls_today": asdict(today)
        | {
            "free_b": system.backup.downloads_per_day,
            "free_c": system.backup.listings_per_day,
        },
        "recovery_key": keys.recovery_recipient(system) is not None
        or (newest is not None and newest.encrypted),
        "offsite": system.backup.offsite or None,
        "audio": asdict(recordings_copy.state(data)) | {"to": system.backup.audio_to or None},
        "pins": [asdict(one) for one in reversed(restore_points.every(database)[-PINS_TOLD:])],
        "restored": restore.last(database),
    }


def _drills(database: Path) -> tuple[list[drill_log.Drill], drill_log.Drill | None]:
    try:
        with closing(consistent_copy.connect(database, "ro")) as connection:
            history = drill_log.latest(connection, DRILLS_TOLD)
            return history[::-1], drill_log.newest(connection, good=True)
    except sqlite3.Error:
        return [], None
