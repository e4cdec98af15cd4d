"""Repair of Redis' append-only file before the server starts.

After a power cut the file can end in a part of a command or in zeros, and the server then refuses
to start. The commands up to the first damage are put in place as a copy; the damaged directory is
kept beside it, and a warning says what was lost.

The directory has a manifest, a snapshot (`*.base.rdb`) and commands (`*.incr.aof`), in order.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import hiredis
import structlog

from barnabee.core.files import sync_directory, sync_file, write_atomically

FOLDER = "appendonlydir"
KEPT_MAX = 5
_MANIFEST = "appendonly.aof.manifest"
_LINE = re.compile(r"file (\S+) seq (\d+) type ([bhi])")
_FILE = re.compile(r"appendonly\.aof\.(\d+)\.(?:base\.(?:rdb|aof)|incr\.aof)")
_CHUNK_BYTES = 1 << 20
_CHECK_LIMIT_S = 60
# What the check program prints about a snapshot of a newer server: not damage.
_NEWER_FORMAT = b"RDB format version"

log = structlog.get_logger()


@dataclass(frozen=True)
class AofFile:
    """A line of the manifest; `kind` is b (base) or i (incremental)."""

    name: str
    sequence: int
    kind: str

    @property
    def line(self) -> str:
        return f"file {self.name} seq {self.sequence} type {self.kind}\n"


@dataclass
class RepairPlan:
    """How many bytes of each file remain, and what is wrong."""

    kept_bytes: dict[AofFile, int] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    lost_bytes: int = 0

    def record(self, file: AofFile, kept: int, size: int, reason: str) -> None:
        """Record that `reason` leaves `kept` of the `size` bytes of a file."""
        self.damage.append(f"{file.name}: {reason}, {size - kept} of {size} bytes lost")
        self.lost_bytes += size - kept
        if kept or file.kind == "i":
            self.kept_bytes[file] = kept


def repair_directory(data: Path, program: str) -> Path | None:
    """Repair `data`/appendonlydir for the server `program`; return where damaged files are kept.

    What cannot be repaired is moved aside, so that the server starts, at worst empty.
    """
    folder, repaired = data / FOLDER, data / f"{FOLDER}.repaired"
    try:
        if repaired.exists() and not folder.exists():  # killed between the two renames
            repaired.rename(folder)
        shutil.rmtree(repaired, ignore_errors=True)
        return _repair(folder, repaired, program) if folder.exists() else None
    except OSError as error:
        log.warning("redis_data_not_checked", code="disk_error", reason=str(error))
        return None


def _repair(folder: Path, repaired: Path, program: str) -> Path | None:
    try:
        plan = plan_repair(folder, program)
    except OSError as error:
        plan = RepairPlan(damage=[f"unreadable: {error}"])
    if not plan.damage:
        return None
    _write_repaired(folder, repaired, plan)
    kept = folder.with_name(f"{FOLDER}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    folder.rename(kept)
    repaired.rename(folder)
    sync_directory(folder.parent)
    log.warning(
        "redis_data_damaged",
        code="redis_data_damaged",
        reason="; ".join(plan.damage),
        lost_bytes=plan.lost_bytes,
        kept=str(kept),
    )
    for old in sorted(folder.parent.glob(f"{FOLDER}.damaged-*"))[:-KEPT_MAX]:
        shutil.rmtree(old, ignore_errors=True)
    return kept


def plan_repair(folder: Path, program: str) -> RepairPlan:
    """Check all files of `folder`; no damage in the plan if the server can read them."""
    plan = RepairPlan()
    for file in _read_manifest(folder, plan):
        path = folder / file.name
        if not path.is_file():
            plan.record(file, 0, 0, "missing")
            continue
        size = path.stat().st_size
        if not size and file.kind == "i" and _was_written_to(path):
            plan.record(file, 0, 0, "emptied")
            continue
        if file.name.endswith(".rdb"):
            valid = size if is_snapshot_valid(path, program) else -1
        else:
            valid = measure_valid_bytes(path)
        if valid == size:
            plan.kept_bytes[file] = size
        else:
            plan.record(file, max(valid, 0), size, "damaged")
    return plan


def _was_written_to(path: Path) -> bool:
    """Return whether a file of commands changed after the manifest that lists it.

    The server makes the file first, so that an empty one has lost its commands.
    """
    with suppress(FileNotFoundError):
        return path.stat().st_mtime_ns > path.with_name(_MANIFEST).stat().st_mtime_ns
    return False


def _read_manifest(folder: Path, plan: RepairPlan) -> list[AofFile]:
    """Return the files in the order in which the server reads them."""
    found = sorted(
        (
            AofFile(name, int(match[1]), "b" if ".base." in name else "i")
            for name in (entry.name for entry in folder.iterdir())
            if (match := _FILE.fullmatch(name))
        ),
        key=lambda file: (file.kind, file.sequence),
    )
    try:
        text = (folder / _MANIFEST).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        text = ""
    lines = [_LINE.fullmatch(line) for line in text.splitlines() if not line.startswith("#")]
    listed = [AofFile(m[1], int(m[2]), m[3]) for m in lines if m is not None and m[3] != "h"]
    newest = max((file.sequence for file in listed if file.kind == "i"), default=0)
    # The server would overwrite them: it lists a file before it writes commands to it.
    unlisted = [
        file
        for file in found
        if file.kind == "i" and file.sequence > newest and (folder / file.name).stat().st_size
    ]
    is_new = not found and not (folder / _MANIFEST).exists()
    if is_new or (listed and None not in lines and not unlisted):
        return listed
    plan.damage.append(f"{_MANIFEST}: {'lacks files' if listed else 'empty or damaged'}")
    bases = [file for file in found if file.kind == "b"]
    return [*bases[-1:], *(file for file in found if file.kind == "i")]


def is_snapshot_valid(path: Path, program: str) -> bool:
    """Return whether the server can read a snapshot.

    The server's program is also its check program, under another name.
    """
    name = "valkey-check-rdb" if "valkey" in Path(program).name else "redis-check-rdb"
    try:
        result = subprocess.run(
            [name, str(path)],
            executable=program,
            capture_output=True,
            timeout=_CHECK_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return True  # the server will say
    return result.returncode == 0 or _NEWER_FORMAT in result.stdout


def measure_valid_bytes(path: Path) -> int:
    """Return how many bytes at the start of a file of commands are whole transactions."""
    if not path.stat().st_size:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = hiredis.Reader()
        offset = valid = 0
        in_transaction = False
        for start in range(0, len(data), _CHUNK_BYTES):
            reader.feed(data[start : start + _CHUNK_BYTES])
            while (command := _next_command(reader)) is not None:
                packed = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]
                if not packed or data[offset : offset + len(packed)] != packed:
                    return valid
                offset += len(packed)
                name = command[0].upper()
                in_transaction = name == b"MULTI" or (in_transaction and name != b"EXEC")
                valid = valid if in_transaction else offset
        return valid


def _next_command(reader: hiredis.Reader) -> Sequence[bytes] | None:
    """Return the next command; None if more bytes are needed or they are no command."""
    with suppress(hiredis.ProtocolError):
        found = reader.gets()
        if isinstance(found, list) and found and all(isinstance(one, bytes) for one in found):
            return found if found[0].isalpha() else None
    return None


def _write_repaired(folder: Path, repaired: Path, plan: RepairPlan) -> None:
    """Write the directory that replaces `folder`, durable before it takes its place."""
    repaired.mkdir(mode=0o700)
    for file, kept in plan.kept_bytes.items():
        copy = repaired / file.name
        shutil.copyfile(folder / file.name, copy) if kept else copy.touch()
        os.truncate(copy, kept)
        sync_file(copy)
    if plan.kept_bytes:  # without a manifest the server begins anew
        manifest = "".join(file.line for file in plan.kept_bytes)
        write_atomically(repaired / _MANIFEST, manifest, durable=True)
