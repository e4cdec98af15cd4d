"""`barnabee replicate`: runs litestream, for the systemd unit and for the runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from barnabee.core.settings import Settings

LOCK_NAME = ".litestream.lock"
STATES_KEPT_MAX = 3
_PR_SET_PDEATHSIG = 1
_POLL_S = 1.0
_POLLS_PER_SYNC = 5
_FAILURES = 2  # in a row, before the local state counts as damaged


def run_litestream() -> None:
    """Stream the database to its replica; for systemd units and `barnabee up`.

    Refuses to run twice on one database: two litestreams would damage the replica. A child process
    watches litestream and ends it where only a new start helps.
    """
    import os
    from contextlib import suppress

    from barnabee.backup import litestream
    from barnabee.core import settings, system
    from barnabee.core.errors import SettingMissing
    from barnabee.core.logging import configure_logging
    from barnabee.store import fence
    from barnabee.store.database_files import report_missing_frames

    graph = fence.with_current_epoch(system.load_system())
    configured = settings.read_settings(graph)
    runtime = settings.read_variable("RUNTIME_DIRECTORY")
    if not runtime:
        raise SettingMissing(name="RUNTIME_DIRECTORY", hint="start it from a unit that sets it")
    program, environment = litestream.find_program(), litestream.environment_with_credentials()
    socket = litestream.socket_path(configured, runtime)
    arguments = litestream.replicate_arguments(graph, configured, runtime)
    with suppress(OSError):
        os.nice(litestream.NICE)  # only here: the writers have priority, but wait for its start
    _start_watcher(configured, socket)
    _lock_database(configured.database_path)
    configure_logging("litestream", level=configured.log_level)
    report_missing_frames(configured.database_path)  # litestream may be the first to open it
    os.execve(program, [str(program), *arguments], environment)  # noqa: S606 - no shell is wanted


def _start_watcher(settings: Settings, socket: Path) -> None:
    """Fork the watcher of this process, which is going to be litestream, and ends with it."""
    import ctypes
    import os
    import signal

    from barnabee.core.logging import configure_logging

    watched = os.getpid()
    if os.fork():
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    configure_logging("litestream", level=settings.log_level)
    try:
        watch_litestream(watched, settings.database_path, socket)
    finally:
        os._exit(1)


def _lock_database(database: Path) -> None:
    """Hold a lock until this process ends, also after exec: the descriptor is inherited."""
    import fcntl
    import os

    from barnabee.core.errors import Misconfigured

    if not database.parent.is_dir():
        return  # litestream waits for the data disk and logs it
    handle = os.open(database.parent / LOCK_NAME, os.O_CREAT | os.O_RDWR, 0o660)
    os.set_inheritable(handle, True)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        what = f"{database} is already replicated by another litestream: stop that one first"
        raise Misconfigured(what=what) from error


def watch_litestream(watched: int, database: Path, socket: Path) -> None:
    """Watch the litestream `watched`; kill it where only a new start helps, and return.

    * Its local state is damaged, as after a power cut: every sync then fails for ever. The state is
      kept under another name; without it litestream takes a new snapshot, and the replica keeps
      what it has.
    * The database's write-ahead log is another file than the one that litestream has open.
    """
    import os
    import signal
    import time

    import structlog

    from barnabee.store.database_files import LogIds, log_ids

    log = structlog.get_logger()
    opened: LogIds | None = None
    failures = polls = 0
    while os.getppid() == watched:
        time.sleep(_POLL_S)
        polls += 1
        if opened is not None and log_ids(database) != opened:
            log.warning("litestream_restarts", reason="the write-ahead log is another file")
            break
        if opened is not None and not failures and polls % _POLLS_PER_SYNC:
            continue
        reason = _sync(socket, database)
        if not reason and opened is None and all(found := log_ids(database)):
            opened = found
        failures = failures + 1 if is_state_damaged(reason) else 0
        if failures >= _FAILURES:
            os.kill(watched, signal.SIGSTOP)  # so that it does not begin a new state half-way
            kept = str(set_state_aside(database))
            log.error("litestream_state_damaged", code="state_damaged", reason=reason, kept=kept)
            break
    if os.getppid() == watched:
        os.kill(watched, signal.SIGKILL)


def is_state_damaged(reason: str) -> bool:
    """Return whether a failed sync says that litestream's local state is damaged. Pure."""
    texts = ("ltx file", "ltx page", "write ltx from db", "verify wal state")
    return any(text in reason for text in texts)


def set_state_aside(database: Path) -> Path | None:
    """Rename litestream's local state; return its new place, None if there is no state."""
    import shutil
    from datetime import UTC, datetime

    state = database.with_name(f".{database.name}-litestream")
    kept = state.with_name(f"{state.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    try:
        state.rename(kept)
    except FileNotFoundError:
        return None
    for old in sorted(state.parent.glob(f"{state.name}.damaged-*"))[:-STATES_KEPT_MAX]:
        shutil.rmtree(old, ignore_errors=True)
    return kept


def _sync(socket: Path, database: Path) -> str:
    """Return why a sync failed, "" if it did not."""
    import asyncio

    from barnabee.backup import litestream
    from barnabee.core.errors import DependencyDown

    try:
        asyncio.run(litestream.measure_lag(socket, database))
    except DependencyDown as error:
        return str(error)
    return ""
