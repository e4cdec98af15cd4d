"""The daily snapshot with all that belongs to it: made, copied off-site, the old ones pruned."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from barnabee.backup import drill_log, keys, offsite, snapshots
from barnabee.backup.consistent_copy import AskTxid, nobody_knows
from barnabee.backup.cpu_limit import Pace
from barnabee.backup.snapshots import Snapshot, Tell, quiet
from barnabee.core.errors import Overloaded
from barnabee.core.schema import System
from barnabee.core.settings import Settings

LOCK = ".lock"


def run(
    system: System,
    settings: Settings,
    ask_txid: AskTxid = nobody_knows,
    *,
    pace: Pace | None = None,
    tell: Tell = quiet,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Snapshot:
    """Make a snapshot, copy what is not off-site yet, prune both places; return the snapshot.

    Without a recovery key it stays on this machine, unencrypted; SettingMissing when it should go
    off-site then. It is kept either way, and what did not get off-site goes with the next one.
    """
    folder = folder_of(settings)
    folder.mkdir(mode=0o770, exist_ok=True)
    with alone(folder):
        snapshots.clear(folder)
        snapshots.require_room(settings.database_path, folder)
        recipients = keys.recipients(system, folder)
        made = snapshots.make(
            settings.database_path, folder, recipients, ask_txid, pace=pace, tell=tell, now=now
        )
        good = drill_log.last_good_snapshot(settings.database_path)
        days = system.retention.snapshots_days
        here = [one.name for one in snapshots.every(folder)]
        snapshots.remove(folder, snapshots.expired(here, now(), days, good))
        offsite.require_encrypted(system, keys.recovery_recipient(system))
        elsewhere = offsite.of(system)
        if elsewhere is not None:
            _send(elsewhere, folder, tell)
            elsewhere.remove(snapshots.expired(elsewhere.names(), now(), days, good))
    return made


def folder_of(settings: Settings) -> Path:
    """Return where this machine keeps its snapshots."""
    return settings.data_dir / snapshots.FOLDER


def _send(elsewhere: offsite.Offsite, folder: Path, tell: Tell) -> None:
    """Copy what is encrypted and not there yet, oldest first."""
    there = set(elsewhere.names())
    missing = [one for one in snapshots.every(folder) if one.encrypted and one.name not in there]
    for number, one in enumerate(missing):
        tell("off-site", number, len(missing))
        elsewhere.put(folder, one)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep others from making a snapshot now; Overloaded when somebody does."""
    handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o660)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Overloaded(what="the snapshot that is being made") from error
    finally:
        os.close(handle)
