"""Progress of long steps: bars on a terminal, one line per step on a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

# Called with the step's name, the bytes done and the total bytes (0 if unknown).
StepCallback = Callable[[str, int, int], None]


class ProgressSteps:
    """Concurrent steps by name, each with bytes done and total bytes (0 if unknown)."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began_s: dict[str, float] = {}
        self._finished: set[str] = set()

    def print_line(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def report(self, name: str, done_bytes: int, total_bytes: int) -> None:
        """Update step `name`; a step that is complete at its first report is not shown."""
        is_finished = 0 < total_bytes <= done_bytes
        if is_finished and name not in self._began_s:
            return
        if name not in self._began_s:
            self._began_s[name] = time.monotonic()
            if not self.console.is_terminal:
                size = f" ({total_bytes / 1e6:.0f} MB)" if total_bytes else ""
                self.print_line(f"{name}: fetching{size}")
        if self.console.is_terminal:
            self._draw(name, done_bytes, total_bytes)
        if is_finished and name not in self._finished:
            self._finished.add(name)
            if not self.console.is_terminal:
                seconds = time.monotonic() - self._began_s[name]
                self.print_line(f"{name}: done, {total_bytes / 1e6:.0f} MB in {seconds:.0f} s")

    def _draw(self, name: str, done_bytes: int, total_bytes: int) -> None:
        if not self._tasks:
            self._progress.start()
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None)
        self._progress.update(self._tasks[name], completed=done_bytes, total=total_bytes or None)

    def close(self) -> None:
        """Stop drawing; finished bars stay visible."""
        if self._tasks:
            self._progress.stop()


@contextmanager
def show_progress(console: Console) -> Iterator[ProgressSteps]:
    """Show steps until the block ends."""
    steps = ProgressSteps(console)
    try:
        yield steps
    finally:
        steps.close()


@contextmanager
def show_steps() -> Iterator[StepCallback]:
    """Show consecutive steps on standard error; yield the function that reports them."""
    if not sys.stderr.isatty():
        yield _make_line_printer()
        return
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def report(step: str, done_bytes: int, total_bytes: int) -> None:
            if step not in tasks:
                for task in tasks.values():
                    progress.stop_task(task)
                tasks[step] = progress.add_task(step, total=None)
            progress.update(tasks[step], completed=done_bytes, total=total_bytes or None)

        yield report


def _make_line_printer() -> StepCallback:
    last_step: list[str] = []

    def report(step: str, _done_bytes: int, _total_bytes: int) -> None:
        if last_step[-1:] != [step]:
            last_step.append(step)
            print(f"  {step}", file=sys.stderr)  # noqa: T201 - output of a command

    return report
