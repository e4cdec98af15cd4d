from __future__ import annotations

import io

from rich.console import Console

from barnabee.up import console, run_state
from barnabee.up.console import LiveView, PlainView, make_view


def run(**nodes: run_state.NodeState) -> run_state.RunState:
    return run_state.RunState(1, 0.0, "system.toml", healthy_s=9.84, nodes=nodes)


READY = run_state.NodeState(phase="ready", state="healthy", port=6379, ready_s=0.21)


def plain() -> tuple[PlainView, io.StringIO]:
    out = io.StringIO()
    return PlainView(Console(file=out, width=40), lambda: "try this"), out


def test_breakdown_names_every_node_with_its_seconds() -> None:
    text = console.format_breakdown(run(redis=READY, api=run_state.NodeState(ready_s=3.0)))
    assert text == "all healthy in 9.8 s: redis 0.2 s, api 3.0 s"


def test_a_failure_shows_the_last_log_lines_unformatted() -> None:
    view, out = plain()
    view.show_failure("gpu", "it ended", ["error: [red]model[/] missing"])
    assert out.getvalue() == "gpu failed: it ended\n    error: [red]model[/] missing\n"


def test_plain_view_prints_each_change_once() -> None:
    view, out = plain()
    for _ in range(3):
        view.show_nodes(run(redis=READY))
    assert out.getvalue() == "redis ready after 0.21 s, healthy\n"


def test_plain_view_prints_warnings_only() -> None:
    view, out = plain()
    for level in ("info", "warning"):
        view.show_record({"component": "api", "level": level, "event": level, "timestamp": ""})
    assert "warning" in out.getvalue()
    assert "info" not in out.getvalue()


def test_terminals_get_the_live_view_and_pipes_lines() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True)
    assert isinstance(make_view(terminal, str), LiveView)
    assert type(make_view(Console(file=io.StringIO()), str)) is PlainView


def test_live_view_shows_the_table_and_then_the_log() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, force_terminal=True, width=80), lambda: "try this")
    quiet = {"component": "api", "level": "info", "event": "before", "timestamp": ""}
    view.show_nodes(run(redis=run_state.NodeState(), api=run_state.NodeState(blocked_by=["redis"])))
    view.show_record(quiet)
    view.show_nodes(run(redis=READY, api=READY))
    view.show_healthy(run(redis=READY, api=READY))
    view.show_record(quiet | {"event": "after"})
    text = out.getvalue()
    assert "waits for redis" in text
    assert "all healthy in 9.8 s" in text
    assert "try this" in text
    assert "after" in text
    assert "before" not in text
