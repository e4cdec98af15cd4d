"""The replica's bucket: direct requests, beside those of litestream, and the files in it.

Litestream repeats a failed request for minutes without a message, and its restores trust what the
store lists. So the cause of a failure is asked for with a request of one attempt, and a replica
that cannot be decoded is read a second time, with another client, before it counts as damaged.

The marker is an object in the replica's folder, written when litestream has started and while the
replica fails: a list without it, or without any file although it exists, is not believed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from barnabee.backup import litestream, restic
from barnabee.clients.s3 import S3Bucket, StoredObject
from barnabee.core.errors import BadRequest, DependencyDown, Misconfigured, StoreFailed
from barnabee.core.files import write_atomically
from barnabee.core.schema import System
from barnabee.core.settings import Settings, require_credential
from barnabee.store.database_files import SetAside, parse_set_aside_time

MARKER = "barnabee.json"
PROBE_LIMIT_S = 1.0
RESET_LIMIT_S = 1800.0
_RCLONE_REMOTE = "replica"
_REASON_CHARS = 300
_KEYS_END = ".keys"
_EPOCH = re.compile(r"-\d+$")  # of a replica path (store.fence)

log = structlog.get_logger()


def open_bucket(system: System, settings: Settings, *, limit_s: float) -> S3Bucket:
    """Return the replica's bucket; `limit_s` limits each request."""
    endpoint = litestream.replica_endpoint(system, settings)
    keys = (require_credential("b2_key_id"), require_credential("b2_application_key"))
    section = system.replica
    return S3Bucket(endpoint, section.region, section.bucket, keys, limit_s=limit_s)


def probe_store(system: System, settings: Settings, *, limit_s: float = PROBE_LIMIT_S) -> None:
    """Write the marker; StoreFailed with the store's own error. Blocks."""
    content = json.dumps({"database": settings.database_path.name}).encode()
    bucket = open_bucket(system, settings, limit_s=limit_s)
    asyncio.run(bucket.put(f"{system.replica.path}/{MARKER}", content))


def publish_failure(socket: Path, failure: StoreFailed | None) -> None:
    """Tell the services, which have no key, how the store fails; None: it does not."""
    path = socket.with_name(litestream.STORE_FAILURE_FILE)
    if failure is None:
        path.unlink(missing_ok=True)
    else:
        text = json.dumps({"fault": failure.fault, "reason": failure.fields["reason"]})
        write_atomically(path, text, mode=0o640)


def publish_keys(socket: Path) -> None:
    """Record which keys of the bucket the litestream with this socket is about to use."""
    write_atomically(socket.with_suffix(_KEYS_END), _hash_keys(), mode=0o640)


def require_same_keys(settings: Settings) -> None:
    """Raise Misconfigured when litestream runs with other keys of the bucket than this process."""
    try:
        used = Path(settings.litestream_socket).with_suffix(_KEYS_END).read_text(encoding="ascii")
    except (FileNotFoundError, ValueError):
        return
    if used != _hash_keys():
        remedy = "restart litestream, or put back the old keys"
        raise Misconfigured(what=f"Litestream runs with other keys of the bucket: {remedy}")


def _hash_keys() -> str:
    keys = (require_credential("b2_key_id"), require_credential("b2_application_key"))
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


async def require_honest_list(bucket: S3Bucket, path: str, last_txid: int) -> None:
    """Raise StoreFailed when the store has what its list lacks.

    `last_txid` is the last transaction listed, 0 for an empty list.
    """
    following = f"{last_txid + 1:016x}"
    if await bucket.exists(f"{path}/0000/{following}-{following}.ltx"):
        raise StoreFailed("missing", f"its list lacks transaction {last_txid + 1}, which exists")
    if not last_txid and await bucket.exists(f"{path}/{MARKER}"):
        reason = f"its list is empty, but {path}/{MARKER} exists; if it was emptied, delete that"
        raise StoreFailed("missing", reason)


def reset_replica(system: System, settings: Settings, now: datetime) -> str:
    """Rename the damaged replica's folder in the bucket and return its new name; blocks.

    Litestream 0.5.17 whose database is behind the replica first fetches the last transactions from
    there; when those are damaged it never gets further. Nothing is deleted. Raises DependencyDown;
    files that were moved by then have the new name.
    """
    section = system.replica
    new_path = f"{section.path}.damaged-{now:%Y%m%dT%H%M%SZ}"
    _run_rclone(system, settings, "move", section.path, new_path)
    log.warning("replica_put_aside", code="backup_damaged", bucket=section.bucket, aside=new_path)
    return new_path


def list_set_aside(system: System, settings: Settings) -> list[SetAside]:
    """Return the replicas that were set aside in the bucket; DependencyDown. Blocks."""
    folder, _, name = system.replica.path.rpartition("/")
    listed = _run_rclone(system, settings, "lsf", folder, options=("--dirs-only",))
    found = []
    for line in sorted(listed.splitlines()):
        other = line.rstrip("/")
        at = parse_set_aside_time(other)
        if at is not None and other.startswith(_EPOCH.sub("", name)):
            path = f"{folder}/{other}".lstrip("/")
            size = json.loads(_run_rclone(system, settings, "size", path, options=("--json",)))
            found.append(SetAside(path, at, int(size["bytes"]), is_in_bucket=True))
    return found


def delete_set_aside(system: System, settings: Settings, path: str) -> None:
    """Delete an entry of `list_set_aside`; DependencyDown. Blocks."""
    _run_rclone(system, settings, "purge", path)
    log.info("set_aside_deleted", name=path)


def _run_rclone(
    system: System, settings: Settings, command: str, *paths: str, options: tuple[str, ...] = ()
) -> str:
    """Run a command of rclone on paths in the bucket and return its output; DependencyDown."""
    section = system.replica
    variables = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": litestream.replica_endpoint(system, settings),
        "REGION": section.region,
        "ACCESS_KEY_ID": require_credential("b2_key_id"),
        "SECRET_ACCESS_KEY": require_credential("b2_application_key"),
        "FORCE_PATH_STYLE": "true",
    }
    environment = {
        f"RCLONE_CONFIG_{_RCLONE_REMOTE.upper()}_{name}": value for name, value in variables.items()
    }
    addresses = [f"{_RCLONE_REMOTE}:{section.bucket}/{path}" for path in paths]
    program = [restic.find_rclone(), "--config", "/dev/null", "--retries", "2"]
    reason = f"no answer within {RESET_LIMIT_S:.0f} s"
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            [*program, command, *options, *addresses],
            capture_output=True,
            text=True,
            env=restic.make_environment(environment),
            timeout=RESET_LIMIT_S,
            check=False,
        )
        if not done.returncode:
            return done.stdout
        reason = done.stderr.strip() or "rclone gave no reason"
    dependency = litestream.replica_url(system, settings)
    raise DependencyDown(dependency=dependency, reason=reason[-_REASON_CHARS:])


# --- LTX files, litestream's format ---------------------------------------------------------------
# Litestream compacts transactions (`replica.compact_every_s`), so not every past transaction can be
# restored: only those at which one of its files ends.

SNAPSHOT_LEVEL = 9
_LTX_KEY = re.compile(r"([0-9a-f]{4})/([0-9a-f]{16})-([0-9a-f]{16})\.ltx")


@dataclass(frozen=True)
class LtxFile:
    """One LTX file of the replica: the changes from transaction `first` to `last`."""

    level: int
    first: int
    last: int
    size_bytes: int
    at: str

    @property
    def name(self) -> str:
        return f"{self.first:016x}-{self.last:016x}.ltx"

    def key(self, path: str) -> str:
        """Return its key in the bucket, in the replica with this path."""
        return f"{path}/{self.level:04x}/{self.name}"


def parse_object(entry: StoredObject, prefix: str) -> LtxFile | None:
    """Return the LTX file that an object is; None for another object. Pure."""
    match = _LTX_KEY.fullmatch(entry.key.removeprefix(prefix))
    if match is None:
        return None
    level, first, last = (int(text, 16) for text in match.groups())
    at = f"{entry.changed_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return LtxFile(level, first, last, entry.size_bytes, at)


def list_restorable_txids(files: Sequence[LtxFile]) -> list[int]:
    """Return the transactions that can be restored exactly, ascending. Pure.

    After each snapshot, a file that begins at the next transaction or earlier extends the range.
    """
    ends: set[int] = {file.last for file in files if file.first <= 1}
    ends |= {file.last for file in files if file.level == SNAPSHOT_LEVEL}
    for file in sorted(files, key=lambda file: (file.first, file.last)):
        if any(file.first <= end + 1 and file.last > end for end in ends):
            ends.add(file.last)
    return sorted(ends)


def choose_needed(files: Sequence[LtxFile], txid: int = 0) -> list[LtxFile]:
    """Return the newest snapshot and what ends later, up to `txid`, or all when it is 0. Pure."""
    files = [file for file in files if file.last <= txid or not txid]
    begin = max((file.last for file in files if file.level == SNAPSHOT_LEVEL), default=0)
    return [
        file
        for file in files
        if file.last > begin or (file.last == begin and file.level == SNAPSHOT_LEVEL)
    ]


def require_restorable(txid: int, files: Sequence[LtxFile]) -> None:
    """Raise BadRequest naming the nearest transactions when `txid` cannot be restored. Pure."""
    known = list_restorable_txids(files)
    if txid in known:
        return
    before = max((other for other in known if other < txid), default=None)
    after = min((other for other in known if other > txid), default=None)
    near = " and ".join(str(other) for other in (before, after) if other is not None)
    reason = f"transaction {txid} does not exist or can no longer be restored; nearest: "
    raise BadRequest(field="--txid", reason=reason + (near or "none"))


def describe_gap(files: Sequence[LtxFile]) -> str | None:
    """Return which transactions are missing and what can be restored; None when none are. Pure."""
    ends = list_restorable_txids(files)
    end = ends[-1] if ends else 0
    later = [file.first for file in files if file.first > end]
    if not later:
        return None
    first, last = end + 1, min(later) - 1
    missing = f"transaction {first} is" if first == last else f"transactions {first} to {last} are"
    upto = f"up to transaction {end} with `--txid {end}`, or " if end else ""
    return f"{missing} missing; restore {upto}the newest snapshot with `--from snapshot`"
