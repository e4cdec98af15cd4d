"""Proves that the recovery kit in the drawer opens the newest snapshot, and that it is sound.

Tries the key of the kit alone: what this machine's own key opens proves nothing.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from barnabee.backup import restore, restore_sources
from barnabee.backup.restore import Tell
from barnabee.backup.restore_sources import FromSnapshot
from barnabee.core.errors import BackupFailed, BadInput
from barnabee.core.schema import System
from barnabee.core.settings import Settings

if TYPE_CHECKING:
    from pyrage.x25519 import Identity

SCRATCH = ".rehearsal"


@dataclass(frozen=True)
class Rehearsed:
    """What the kit opened."""

    name: str
    rows: int


def run(system: System, settings: Settings, identity: Identity, tell: Tell) -> Rehearsed:
    """Open the newest snapshot with the kit and check it; BackupFailed names the step. Blocks."""
    return prove(restore_sources.from_snapshot(system, settings, identity=identity), settings, tell)


def prove(source: FromSnapshot, settings: Settings, tell: Tell) -> Rehearsed:
    """Open `source` with the keys it has, and nothing of it stays behind."""
    if not source.snapshot.encrypted:
        what = f"{source.name} is not encrypted: there is nothing to open with a kit"
        raise BadInput(what=what)
    folder = settings.data_dir / SCRATCH
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        done = asyncio.run(restore.elsewhere(folder / "opened.db", source, tell))
    except BackupFailed as error:
        step, reason = error.fields["step"], error.fields["reason"]
        what = "rehearsal of the recovery kit"
        raise BackupFailed(what=what, step=step, reason=reason) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Rehearsed(source.name, done.rows)
