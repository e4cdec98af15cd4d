from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from barnabee.core.errors import AlreadyRunning, NotRunning
from barnabee.up import run_state
from barnabee.up.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    paths.make()
    return paths


def make_state() -> run_state.RunState:
    nodes = {"api": run_state.NodeState(phase="ready", port=8000, last_lines=["a"])}
    return run_state.make_run_state("system.toml", nodes, demo_home="/venv")


def test_a_written_state_reads_back(paths: Paths) -> None:
    state = make_state()
    run_state.write_state(paths, state)
    assert run_state.read_state(paths) == state
    assert run_state.require_running(paths).nodes["api"].port == 8000


def test_of_an_old_state_phase_and_health_are_unknown(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_state.write_state(paths, make_state())
    later_s = time.monotonic() + run_state.STALE_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    state = run_state.require_running(paths)
    assert state.stale_s is not None
    assert state.stale_s > run_state.STALE_S
    assert (state.nodes["api"].phase, state.nodes["api"].state) == ("unknown", "unknown")
    assert state.nodes["api"].port == 8000


def test_a_restart_request_is_taken_once(paths: Paths) -> None:
    assert run_state.take_restart_requests(paths) == []
    run_state.request_restart(paths, "api")
    run_state.request_restart(paths, "voice")
    assert run_state.take_restart_requests(paths) == ["api", "voice"]
    assert run_state.take_restart_requests(paths) == []


def test_a_run_is_alive_only_while_its_process_is(paths: Paths) -> None:
    assert make_state().is_alive
    assert not replace(make_state(), started=make_state().started - 100).is_alive, "a reused pid"
    assert not replace(make_state(), pid=2**22 - 1).is_alive


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid":1,"nodes":[]}'])
def test_a_damaged_file_is_ignored(paths: Paths, text: str) -> None:
    paths.state.write_text(text)
    assert run_state.read_state(paths) is None
    with pytest.raises(NotRunning):
        run_state.require_running(paths)


def test_the_lock_is_exclusive_and_names_its_holder(paths: Paths) -> None:
    run_state.write_state(paths, make_state())
    with (
        run_state.hold_lock(paths),
        pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"),
    ):
        run_state.require_not_running(paths)
    run_state.require_not_running(paths)
