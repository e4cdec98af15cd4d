"""`barnabee replicate`: what a unit starts to stream the database to its replica."""

from __future__ import annotations


def replicate() -> None:
    """Become litestream, told by system.toml and with this service's credentials.

    For units: `barnabee up` starts litestream by itself.
    """
    import os

    from barnabee.core import settings, system
    from barnabee.core.errors import SettingMissing
    from barnabee.store import litestream

    graph = system.load()
    chosen = settings.load(graph)
    runtime = os.environ.get("RUNTIME_DIRECTORY")
    if not runtime:
        raise SettingMissing(name="RUNTIME_DIRECTORY", hint="start it from a unit that has one")
    program, environment = litestream.program(), litestream.own_environment()
    arguments = litestream.replicate_arguments(graph, chosen, runtime)
    os.execve(program, [str(program), *arguments], environment)  # noqa: S606 - no shell is wanted
