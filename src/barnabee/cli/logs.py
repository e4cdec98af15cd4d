"""`barnabee logs`: the one log, filtered, followed."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from barnabee.core.errors import NotFound

_LOOK_EVERY_S = 0.2


def logs(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written next.")
    ] = False,
    component: Annotated[
        str | None, typer.Option("--component", "-c", help="Of this service only.")
    ] = None,
    trace: Annotated[str | None, typer.Option("--trace", help="Of this trace id only.")] = None,
    lines: Annotated[
        int, typer.Option("-n", min=0, help="How many of the last lines to show.")
    ] = 50,
    raw: Annotated[bool, typer.Option("--json", help="Print the JSON lines as they are.")] = False,
) -> None:
    """Show the house's log."""
    from rich.console import Console

    from barnabee.up import paths
    from barnabee.up.console import log_line

    path = paths.local().log
    if not path.exists():
        raise NotFound(what=f"log yet ({path}): start the house with `./barnabee up`")
    console = Console(highlight=False, soft_wrap=True)

    def show(record: dict[str, Any]) -> None:
        if raw:
            typer.echo(json.dumps(record, ensure_ascii=False))
        else:
            console.print(log_line(record))

    def wanted(record: dict[str, Any]) -> bool:
        return component in {None, record.get("component")} and trace in {
            None,
            record.get("trace_id"),
        }

    with path.open(encoding="utf-8", errors="replace") as file:
        for record in deque(filter(wanted, _older(path, follow=trace is not None)), maxlen=lines):
            show(record)
        for record in deque(filter(wanted, read(file)), maxlen=lines):
            show(record)
        if follow:
            for record in filter(wanted, _following(path, file)):
                show(record)


def of_trace(path: Path, trace_id: str) -> list[dict[str, Any]]:
    """Return the records of one trace id in the log and its rotated files, oldest first."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        everything = chain(_older(path, follow=True), read(file))
        return [record for record in everything if record.get("trace_id") == trace_id]


def read(file: IO[str]) -> Iterator[dict[str, Any]]:
    """Return the records up to the end of the file; a half-written line is left for later."""
    while True:
        at = file.tell()
        line = file.readline()
        if not line.endswith("\n"):
            file.seek(at)
            return
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield {"component": "?", "level": "info", "event": ""} | record


def _older(path: Path, *, follow: bool) -> Iterator[dict[str, Any]]:
    """Return the records of the rotated files, oldest first, when the whole past is asked for."""
    from barnabee.up.logfile import FILES_KEPT, rotated

    for number in range(FILES_KEPT, 0, -1) if follow else ():
        older = rotated(path, number)
        if older.exists():
            with older.open(encoding="utf-8", errors="replace") as file:
                yield from read(file)


def _following(path: Path, file: IO[str]) -> Iterator[dict[str, Any]]:
    """Return records as they come, for ever, through rotations."""
    while True:
        yield from read(file)
        if path.exists() and path.stat().st_ino != _inode(file):
            yield from read(file)
            with path.open(encoding="utf-8", errors="replace") as newer:
                yield from _following(path, newer)
        time.sleep(_LOOK_EVERY_S)


def _inode(file: IO[str]) -> int:
    import os

    return os.fstat(file.fileno()).st_ino
