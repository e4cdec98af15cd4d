"""Shows the steps of long work: a bar where somebody looks, a line a step where nobody does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

Tell = Callable[[str, int, int], None]


@contextmanager
def shown() -> Iterator[Tell]:
    """Give what is told (step, bytes done, bytes in all or 0)."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, object] = {}

        def tell(step: str, done: int, in_all: int) -> None:
            if step not in tasks:
                for name, task in tasks.items():
                    del name
                    progress.stop_task(task)  # type: ignore[arg-type]
                tasks[step] = progress.add_task(step, total=None)
            progress.update(tasks[step], completed=done, total=in_all or None)  # type: ignore[arg-type]

        yield tell


def _lines() -> Tell:
    last: list[str] = []

    def tell(step: str, _done: int, _all: int) -> None:
        if last[-1:] != [step]:
            last.append(step)
            typer.echo(f"  {step}", err=True)

    return tell
