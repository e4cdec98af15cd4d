"""`barnabee replicate`: runs litestream, for the systemd unit and for the runner."""

from __future__ import annotations

from pathlib import Path

LOCK_NAME = ".litestream.lock"


def run_litestream() -> None:
    """Stream the database to its replica; for systemd units and `barnabee up`.

    Refuses to run twice on one database: two litestreams would damage the replica.
    """
    import os
    from contextlib import suppress

    from barnabee.backup import litestream
    from barnabee.core import settings, system
    from barnabee.core.errors import SettingMissing

    graph = system.load_system()
    configured = settings.read_settings(graph)
    runtime = settings.read_variable("RUNTIME_DIRECTORY")
    if not runtime:
        raise SettingMissing(name="RUNTIME_DIRECTORY", hint="start it from a unit that sets it")
    program, environment = litestream.find_program(), litestream.environment_with_credentials()
    arguments = litestream.replicate_arguments(graph, configured, runtime)
    _lock_database(configured.database_path)
    with suppress(OSError):  # on NixOS the unit sets it and forbids this
        os.nice(litestream.NICE)
    os.execve(program, [str(program), *arguments], environment)  # noqa: S606 - no shell is wanted


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
