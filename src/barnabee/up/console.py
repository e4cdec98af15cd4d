"""Terminal output of a run: a live table of the nodes, then the log; plain lines on a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from rich import markup
from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from barnabee.core.logging import escape_controls
from barnabee.up import run_state
from barnabee.up.logfile import Record, RunView
from barnabee.up.node_supervisor import format_message

_LINES_SHOWN = 6
STATE_COLOURS = {
    "healthy": "green",
    "degraded": "yellow",
    "unhealthy": "red",
    "unknown": "bright_black",
}
_LEVEL_COLOURS = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}
STATE_SYMBOLS = {"healthy": "●", "degraded": "◐", "unhealthy": "✗", "unknown": "○"}
_HIDDEN_EVENTS = frozenset({"request"})


def escape(text: str) -> str:
    """Return text that may come from elsewhere as rich markup, for terminals."""
    return markup.escape(escape_controls(text))


def make_view(console: Console, ready_text: Callable[[], str]) -> RunView:
    """Return the view for `console`; `ready_text` is printed once everything is healthy."""
    if console.is_terminal:
        return LiveView(console, ready_text)
    return PlainView(console, ready_text)


class SilentView:
    """Prints nothing: the view of a detached run, which only writes the log file."""

    def show_record(self, record: Record) -> None:
        pass

    def show_nodes(self, run: run_state.RunState) -> None:
        pass

    def show_failure(self, name: str, reason: str, last_lines: Sequence[str]) -> None:
        pass

    def show_healthy(self, run: run_state.RunState) -> None:
        pass


class PlainView:
    """Prints one line per event, for pipes and log collectors."""

    def __init__(self, console: Console, ready_text: Callable[[], str]) -> None:
        self.console = console
        self._ready_text = ready_text
        self._shown: dict[str, str] = {}

    def show_record(self, record: Record) -> None:
        """Print warnings and errors; everything is in the log file."""
        if record["level"] in {"warning", "error", "critical"}:
            self.console.print(format_record(record), highlight=False, soft_wrap=True)

    def show_nodes(self, run: run_state.RunState) -> None:
        """Print the nodes whose phase or state has changed."""
        for name, node in run.nodes.items():
            text = f"{name} {node.phase}"
            if node.phase == "ready":
                text += f" after {node.ready_s} s, {node.state}"
            if self._shown.get(name) != text and node.phase != "absent":
                self._shown[name] = text
                self.console.print(text, highlight=False, soft_wrap=True)

    def show_failure(self, name: str, reason: str, last_lines: Sequence[str]) -> None:
        self.console.print(
            format_failure(name, reason, last_lines), highlight=False, soft_wrap=True
        )

    def show_healthy(self, run: run_state.RunState) -> None:
        """Print the start-up times and what to do next."""
        self.console.print(
            f"[bold green]{format_breakdown(run)}[/]", highlight=False, soft_wrap=True
        )
        self.console.print(self._ready_text(), highlight=False, soft_wrap=True)


class LiveView(PlainView):
    """Draws a live table during the start, then prints coloured log lines."""

    def __init__(self, console: Console, ready_text: Callable[[], str]) -> None:
        super().__init__(console, ready_text)
        self._live: Live | None = Live(console=console, refresh_per_second=8, transient=False)

    def show_record(self, record: Record) -> None:
        """Print a log line; only warnings and errors while the table is live."""
        if self._live is not None:
            super().show_record(record)
        elif record["event"] not in _HIDDEN_EVENTS:
            self.console.print(format_record(record), highlight=False, soft_wrap=True)

    def show_nodes(self, run: run_state.RunState) -> None:
        if self._live is None:
            return
        if run.phase == "stopping":
            self._stop_live()
            return
        self._live.start()
        self._live.update(make_node_table(run), refresh=True)

    def show_healthy(self, run: run_state.RunState) -> None:
        """Freeze the table; further output follows below it."""
        if self._live is not None:
            self._live.update(make_node_table(run), refresh=True)
        self._stop_live()
        super().show_healthy(run)

    def _stop_live(self) -> None:
        if self._live is not None:
            with suppress(OSError):
                self._live.stop()
        self._live = None


def make_node_table(run: run_state.RunState) -> Table:
    """Return a table of the nodes with state, port, detail and start-up time."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, node in run.nodes.items():
        colour = STATE_COLOURS[node.state]
        detail = node.reason or (
            f"waits for {', '.join(node.blocked_by)}" if node.phase == "absent" else node.phase
        )
        seconds = f"{node.ready_s:.1f} s" if node.ready_s is not None else ""
        table.add_row(
            f"[{colour}]{STATE_SYMBOLS[node.state]}[/]",
            name,
            f"[dim]{node.port or ''}[/]",
            f"[{colour}]{escape(detail)}[/]",
            seconds,
        )
    return table


def format_breakdown(run: run_state.RunState) -> str:
    """Return one line: the start-up time of the deployment and of each node."""
    parts = [f"{name} {node.ready_s:.1f} s" for name, node in run.nodes.items() if node.ready_s]
    return f"all healthy in {run.healthy_s:.1f} s: {', '.join(parts)}"


def format_failure(name: str, reason: str, last_lines: Sequence[str]) -> str:
    """Return the reason and the node's last log lines as rich markup."""
    lines = [f"    [dim]{escape(line)}[/]" for line in last_lines[-_LINES_SHOWN:]]
    return "\n".join([f"[red]{name} failed:[/] {escape(reason)}", *lines])


def format_record(record: Record) -> str:
    """Return a log record as one line of rich markup."""
    stamp = escape(str(record.get("timestamp", ""))[11:19])
    level = str(record["level"])
    colour = _LEVEL_COLOURS.get(level, "")
    text = escape(format_message(record))
    extras = [
        f"{key}={record[key]}"
        for key in ("node", "state", "seconds", "code", "route", "status", "reason", "latency_ms")
        if record.get(key) is not None
    ]
    body = f"[{colour}]{text}[/]" if colour else text
    tail = f" [dim]{escape(' '.join(extras))}[/]" if extras else ""
    return f"[dim]{stamp}[/] [cyan]{escape(str(record['component'])):<10}[/] {body}{tail}"


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
