"""Takes over a directory and runs the house in it, in this process or in one of its own.

The detached runner is forked, so that what the first process found wrong before anything started
(a taken port, another runner) is still said where the user typed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from barnabee.core.errors import BarnabeeError
from barnabee.up.node_commands import COMMANDS, CommandFor, House
from barnabee.up.preflight import takeover
from barnabee.up.runner import Runner, View


def run(
    house: House,
    view: View,
    *,
    commands: Mapping[str, CommandFor] = COMMANDS,
    on_takeover: Callable[[list[str]], None] = lambda _: None,
) -> None:
    """Run `house` until a signal stops it; `on_takeover` gets the names of ended leftovers."""
    with takeover(house) as cleared:
        on_takeover(cleared)
        asyncio.run(_run(house, view, commands))


async def _run(house: House, view: View, commands: Mapping[str, CommandFor]) -> None:
    await Runner(house, view, commands=commands).run()


def detached(
    house: House, view: View, *, commands: Mapping[str, CommandFor] = COMMANDS
) -> list[str]:
    """Run `house` in a process of its own; return the ended leftovers once it has taken over.

    Raises what `run` would raise before anything starts.
    """
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(heard)
        _become_runner(house, view, commands, said)
    os.close(said)
    os.waitpid(child, 0)
    with os.fdopen(heard, encoding="utf-8") as pipe:
        text = pipe.read()
    answer: dict[str, Any] = json.loads(text) if text else {"error": "The runner did not begin"}
    if "error" in answer:
        raise _Told(**answer)
    return list(answer["cleared"])


class _Told(BarnabeeError):
    """{error}"""  # noqa: D415 - the other process's sentence has its own full stop

    def __init__(self, error: str, code: str = "internal", exit_code: int = 1) -> None:
        """Repeat what the other process said."""
        self.code = code  # type: ignore[misc]
        self.exit_code = exit_code  # type: ignore[misc]
        super().__init__(error=error)


def _become_runner(
    house: House, view: View, commands: Mapping[str, CommandFor], said: int
) -> NoReturn:
    os.setsid()
    if os.fork() != 0:  # a second time, so that no terminal can ever be acquired
        os._exit(0)
    _forget_terminal(house)

    def tell(answer: Mapping[str, object]) -> None:
        os.write(said, json.dumps(answer).encode())
        os.close(said)

    status = 1
    try:
        run(house, view, commands=commands, on_takeover=lambda names: tell({"cleared": names}))
        status = 0
    except BarnabeeError as error:
        tell({"error": str(error), "code": error.code, "exit_code": error.exit_code})
    finally:
        sys.stderr.flush()
        os._exit(status)


def _forget_terminal(house: House) -> None:
    house.paths.make()
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = os.open(house.paths.log.parent / "runner.err", os.O_WRONLY | os.O_CREAT, 0o600)
    for source, target in ((nothing, 0), (nothing, 1), (errors, 2)):
        os.dup2(source, target)
