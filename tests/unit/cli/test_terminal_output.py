"""Text of others is printed without what controls a terminal."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from barnabee import cli
from barnabee.cli import health, say, trace
from barnabee.cli.app import app
from barnabee.cli.clients import ServiceClients
from barnabee.clients.gpu import GpuClient
from barnabee.core.errors import DependencyDown
from barnabee.core.logging import escape_controls
from barnabee.store.waterfall import make_waterfall
from barnabee.up.console import PlainView, format_record, make_node_table
from barnabee.up.paths import Paths
from barnabee.up.run_state import NodeState, RunState

# a colour, a window title, the C1 form of CSI, a carriage return, a direction override
HOSTILE = "one\x1b[31mtwo\x1b]0;pwned\x07three\x9b2Jfour\rfive\u202esix\x7f"
CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
ESCAPED = r"one\u001b[31mtwo\u001b]0;pwned\u0007three\u009b2Jfour\u000dfive\u202esix\u007f"


def test_controls_are_visible() -> None:
    assert escape_controls(HOSTILE) == ESCAPED
    assert escape_controls("Grüße,\tÇa va?\n日本語 🙂") == "Grüße,\tÇa va?\n日本語 🙂"


@given(st.text() | st.text("\x00\x1b\x85\x9b\u202e\u2069\ud800\\\"'"))
def test_no_control_remains_and_json_stays_json(text: str) -> None:
    assert not CONTROLS.search(escape_controls(text))
    escape_controls(text).encode()
    whole = json.dumps({"text": text}, ensure_ascii=False)
    assert json.loads(escape_controls(whole)) == {"text": text}


async def test_say_prints_a_hostile_reply_visibly(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"reply": HOSTILE, "intent": HOSTILE, "actions": [{"name": HOSTILE}]}
    answer |= {"session_id": "s", "trace_id": "t", "degraded": [HOSTILE], "latency_ms": {}}
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json=answer))
    api = httpx.AsyncClient(base_url="http://api", transport=transport)
    clients = ServiceClients(api, GpuClient("http://gpu", "token", transport=transport))
    await say._converse(clients, "remember it", None, None, say.CommandOrigin())
    out = capsys.readouterr().out
    assert f"reply:    {ESCAPED}" in out
    assert not CONTROLS.search(out)


def test_trace_prints_a_hostile_turn_visibly(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = {"trace_id": "0" * 32, "utterance": HOSTILE, "reply": HOSTILE, "latency_ms": {}}
    turn |= {"intent": "fact", "degraded": [], "created_at": "2026-01-31T12:00:00.000Z"}
    waterfall = make_waterfall("0" * 32, turn, None, [], {})

    async def read_waterfall(*_arguments: object) -> object:
        return waterfall

    monkeypatch.setattr(trace, "_read_waterfall", read_waterfall)
    for as_json in (False, True):
        trace.show_trace(None, as_json=as_json, loki=None)
        out = capsys.readouterr().out
        assert "pwned" in out
        assert not CONTROLS.search(out)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_logs_prints_hostile_lines_visibly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("BARNABEE_HOME", str(tmp_path))
    paths = Paths(tmp_path)
    paths.make()
    record = dict.fromkeys(("event", "component", "reason", "timestamp"), HOSTILE)
    paths.log.write_text(json.dumps(record | {"level": "error"}) + "\n")
    result = CliRunner().invoke(app, ["logs", *options])
    assert result.exit_code == 0
    assert "pwned" in result.output
    assert not CONTROLS.search(result.output)


def test_the_log_of_a_run_is_coloured_and_has_no_other_controls() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=300)
    record = {"event": HOSTILE, "component": "api", "level": "error", "reason": HOSTILE}
    PlainView(console, lambda: "").show_record(record)
    PlainView(console, lambda: "").show_failure("gpu", HOSTILE, [HOSTILE])
    assert r"\u001b[31mtwo" in format_record(record).replace("\\[", "[")
    without_colours = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert "pwned" in without_colours
    assert not CONTROLS.search(without_colours)


def test_reasons_of_nodes_are_shown_visibly() -> None:
    out = io.StringIO()
    console = Console(file=out, width=300)
    node = NodeState(phase="ready", state="degraded", reason=f"[red]{HOSTILE}")
    run = RunState(1, 0.0, "system.toml", nodes={"api": node})
    for table in (health._make_status_table(run, {}), make_node_table(run)):
        console.print(table)
    assert out.getvalue().count(f"[red]{ESCAPED}") == 2
    assert not CONTROLS.search(out.getvalue())


def test_errors_are_printed_visibly(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise DependencyDown(dependency="api", reason=HOSTILE)

    monkeypatch.setattr(say, "_say", fail)
    result = CliRunner().invoke(app, ["say", "hello"])
    assert ESCAPED in result.output
    assert not CONTROLS.search(result.output)


def test_commands_print_through_one_function() -> None:
    for path in Path(cli.__file__).parent.glob("*.py"):
        if path.name in {"__init__.py", "dev.py"}:  # dev prints the output of our own checks
            continue
        calls = {
            ast.unparse(node.func)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        }
        assert not calls & {"typer.echo", "print", "typer.secho"}, path
