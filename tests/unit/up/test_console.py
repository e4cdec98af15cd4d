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


def test_the_breakdown_names_every_service_with_its_seconds() -> None:
    text = console.breakdown(run(redis=READY, api=run_state.NodeState(ready_s=3.0)))
    assert text == "all healthy in 9.8 s: redis 0.2 s, api 3.0 s"


def test_a_failure_shows_the_last_lines_as_they_were_said() -> None:
    view, out = plain()
    view.failed("gpu", "it ended", ["error: [red]model[/] missing"])
    assert out.getvalue() == "gpu failed: it ended\n    error: [red]model[/] missing\n"


def test_plain_lines_say_each_change_once() -> None:
    view, out = plain()
    for _ in range(3):
        view.changed(run(redis=READY))
    assert out.getvalue() == "redis ready after 0.21 s, healthy\n"


def test_plain_lines_show_warnings_only() -> None:
    view, out = plain()
    for level in ("info", "warning"):
        view.line({"component": "api", "level": level, "event": level, "timestamp": ""})
    assert "warning" in out.getvalue()
    assert "info" not in out.getvalue()


def test_a_terminal_gets_the_table_and_a_pipe_gets_lines() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True)
    assert isinstance(make_view(terminal, str), LiveView)
    assert type(make_view(Console(file=io.StringIO()), str)) is PlainView


def test_the_table_goes_green_and_the_log_follows_it() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, force_terminal=True, width=80), lambda: "try this")
    quiet = {"component": "api", "level": "info", "event": "before", "timestamp": ""}
    view.changed(run(redis=run_state.NodeState(), api=run_state.NodeState(blocked_by=["redis"])))
    view.line(quiet)
    view.changed(run(redis=READY, api=READY))
    view.healthy(run(redis=READY, api=READY))
    view.line(quiet | {"event": "after"})
    text = out.getvalue()
    assert "waits for redis" in text
    assert "all healthy in 9.8 s" in text
    assert "try this" in text
    assert "after" in text
    assert "before" not in text
