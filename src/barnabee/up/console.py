"""What a run shows on the terminal: the cascade going green, then the log; plain lines elsewhere.

Only draws. `make_view` picks the view that suits standard output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from barnabee.up import run_state
from barnabee.up.logfile import Record
from barnabee.up.node_supervisor import said
from barnabee.up.runner import View

_LINES_SHOWN = 6
COLOURS = {
    "healthy": "green",
    "degraded": "yellow",
    "unhealthy": "red",
    "unknown": "bright_black",
}
_LEVEL_COLOURS = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}
SIGNS = {"healthy": "●", "degraded": "◐", "unhealthy": "✗", "unknown": "○"}
_HIDDEN_EVENTS = frozenset({"request"})


def make_view(console: Console, farewell: Callable[[], str]) -> View:
    """Return a view for `console`; `farewell` is the text shown once everything is healthy."""
    if console.is_terminal:
        return LiveView(console, farewell)
    return PlainView(console, farewell)


class SilentView:
    """For a detached run: everything is in the log file."""

    def line(self, record: Record) -> None:
        """Show nothing."""

    def changed(self, run: run_state.RunState) -> None:
        """Show nothing."""

    def failed(self, name: str, reason: str, last_lines: Sequence[str]) -> None:
        """Show nothing."""

    def healthy(self, run: run_state.RunState) -> None:
        """Show nothing."""


class PlainView:
    """One line per event, for pipes and log collectors."""

    def __init__(self, console: Console, farewell: Callable[[], str]) -> None:
        """Write to `console`."""
        self.console = console
        self._farewell = farewell
        self._shown: dict[str, str] = {}

    def line(self, record: Record) -> None:
        """Show warnings and worse; the rest is in the log file."""
        if record["level"] in {"warning", "error", "critical"}:
            self.console.print(log_line(record), highlight=False, soft_wrap=True)

    def changed(self, run: run_state.RunState) -> None:
        """Show the nodes whose phase or state is another than before."""
        for name, node in run.nodes.items():
            text = f"{name} {node.phase}"
            if node.phase == "ready":
                text += f" after {node.ready_s} s, {node.state}"
            if self._shown.get(name) != text and node.phase != "absent":
                self._shown[name] = text
                self.console.print(text, highlight=False, soft_wrap=True)

    def failed(self, name: str, reason: str, last_lines: Sequence[str]) -> None:
        """Show why, and the last lines."""
        self.console.print(failure_text(name, reason, last_lines), highlight=False, soft_wrap=True)

    def healthy(self, run: run_state.RunState) -> None:
        """Show the breakdown and what to do next."""
        self.console.print(f"[bold green]{breakdown(run)}[/]", highlight=False, soft_wrap=True)
        self.console.print(self._farewell(), highlight=False, soft_wrap=True)


class LiveView(PlainView):
    """A table that goes green while the house starts, and coloured log lines once it has."""

    def __init__(self, console: Console, farewell: Callable[[], str]) -> None:
        """Draw on `console`."""
        super().__init__(console, farewell)
        self._live: Live | None = Live(console=console, refresh_per_second=8, transient=False)

    def line(self, record: Record) -> None:
        """Show a log line; only what went wrong while the table is still moving."""
        if self._live is not None:
            super().line(record)
        elif record["event"] not in _HIDDEN_EVENTS:
            self.console.print(log_line(record), highlight=False, soft_wrap=True)

    def changed(self, run: run_state.RunState) -> None:
        """Draw the table anew."""
        if self._live is None:
            return
        if run.phase == "stopping":
            self._end()
            return
        self._live.start()
        self._live.update(cascade_table(run), refresh=True)

    def healthy(self, run: run_state.RunState) -> None:
        """Leave the finished table standing and go on below it."""
        if self._live is not None:
            self._live.update(cascade_table(run), refresh=True)
        self._end()
        super().healthy(run)

    def _end(self) -> None:
        if self._live is not None:
            with suppress(OSError):
                self._live.stop()
        self._live = None


def cascade_table(run: run_state.RunState) -> Table:
    """Return the nodes with their state, their port and how long they took."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, node in run.nodes.items():
        colour = COLOURS[node.state]
        detail = node.reason or (
            f"waits for {', '.join(node.blocked_by)}" if node.phase == "absent" else node.phase
        )
        seconds = f"{node.ready_s:.1f} s" if node.ready_s is not None else ""
        table.add_row(
            f"[{colour}]{SIGNS[node.state]}[/]",
            name,
            f"[dim]{node.port or ''}[/]",
            f"[{colour}]{escape(detail)}[/]",
            seconds,
        )
    return table


def breakdown(run: run_state.RunState) -> str:
    """Return one line: how long until all were healthy, and how long each took."""
    parts = [f"{name} {node.ready_s:.1f} s" for name, node in run.nodes.items() if node.ready_s]
    return f"all healthy in {run.healthy_s:.1f} s: {', '.join(parts)}"


def failure_text(name: str, reason: str, last_lines: Sequence[str]) -> str:
    """Return why a node failed and what it said last, as rich markup."""
    said_last = [f"    [dim]{escape(line)}[/]" for line in last_lines[-_LINES_SHOWN:]]
    return "\n".join([f"[red]{name} failed:[/] {escape(reason)}", *said_last])


def log_line(record: Record) -> str:
    """Return one log record as a line of rich markup."""
    stamp = str(record.get("timestamp", ""))[11:19]
    level = str(record["level"])
    colour = _LEVEL_COLOURS.get(level, "")
    text = escape(said(record))
    extras = [
        f"{key}={record[key]}"
        for key in ("node", "state", "seconds", "code", "route", "status", "reason", "latency_ms")
        if record.get(key) is not None
    ]
    body = f"[{colour}]{text}[/]" if colour else text
    tail = f" [dim]{escape(' '.join(extras))}[/]" if extras else ""
    return f"[dim]{stamp}[/] [cyan]{record['component']:<10}[/] {body}{tail}"
