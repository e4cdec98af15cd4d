"""`barnabee replicate`: what a unit or the runner starts to stream the database to its replica."""

from __future__ import annotations

from pathlib import Path

LOCK = ".litestream.lock"


def replicate() -> None:
    """Become litestream, told by system.toml and with this service's credentials.

    For units and `barnabee up`. Refuses to be the second on one database: two that copy the same
    log spoil the replica, and litestream itself does not look.
    """
    import os
    from contextlib import suppress

    from barnabee.backup import litestream
    from barnabee.core import settings, system
    from barnabee.core.errors import SettingMissing

    graph = system.load()
    chosen = settings.load(graph)
    runtime = os.environ.get("RUNTIME_DIRECTORY")
    if not runtime:
        raise SettingMissing(name="RUNTIME_DIRECTORY", hint="start it from a unit that has one")
    program, environment = litestream.program(), litestream.own_environment()
    arguments = litestream.replicate_arguments(graph, chosen, runtime)
    _be_the_only_one(chosen.database_path)
    with suppress(OSError):  # on NixOS the unit says so, and this is not allowed
        os.nice(litestream.NICE)
    os.execve(program, [str(program), *arguments], environment)  # noqa: S606 - no shell is wanted


def _be_the_only_one(database: Path) -> None:
    """Hold a lock that lives as long as this process, also when it has become litestream."""
    import fcntl
    import os

    from barnabee.core.errors import Misconfigured

    if not database.parent.is_dir():
        return  # litestream waits for the data disk, and says so
    handle = os.open(database.parent / LOCK, os.O_CREAT | os.O_RDWR, 0o660)
    os.set_inheritable(handle, True)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        what = f"{database} is streamed by another litestream already: stop that one first"
        raise Misconfigured(what=what) from error
