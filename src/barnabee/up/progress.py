"""How far a long step is: bars with bytes on a terminal, a line for each step's ends elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
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


class Steps:
    """Steps by name, each with bytes done and bytes in all (0: nobody knows)."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`."""
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
        self._done: set[str] = set()

    def tell(self, text: str) -> None:
        """Say one line."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def report(self, name: str, done_bytes: int, total_bytes: int) -> None:
        """Show how far step `name` is; a step that was done at once is not shown."""
        finished = 0 < total_bytes <= done_bytes
        if finished and name not in self._began_s:
            return
        if name not in self._began_s:
            self._began_s[name] = time.monotonic()
            if not self.console.is_terminal:
                size = f" ({total_bytes / 1e6:.0f} MB)" if total_bytes else ""
                self.tell(f"{name}: fetching{size}")
        if self.console.is_terminal:
            self._draw(name, done_bytes, total_bytes)
        if finished and name not in self._done:
            self._done.add(name)
            if not self.console.is_terminal:
                seconds = time.monotonic() - self._began_s[name]
                self.tell(f"{name}: done, {total_bytes / 1e6:.0f} MB in {seconds:.0f} s")

    def _draw(self, name: str, done_bytes: int, total_bytes: int) -> None:
        if not self._tasks:
            self._progress.start()
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None)
        self._progress.update(self._tasks[name], completed=done_bytes, total=total_bytes or None)

    def close(self) -> None:
        """Leave the finished bars standing."""
        if self._tasks:
            self._progress.stop()


@contextmanager
def shown(console: Console) -> Iterator[Steps]:
    """Show steps until the block ends."""
    steps = Steps(console)
    try:
        yield steps
    finally:
        steps.close()
