from __future__ import annotations

import os
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


def mine() -> run_state.RunState:
    nodes = {"api": run_state.NodeState(phase="ready", port=8000, last_lines=["a"])}
    return run_state.of_this_process("system.toml", demo_home=True, nodes=nodes)


def test_what_is_written_is_read(paths: Paths) -> None:
    run_state.write(paths, mine())
    assert run_state.read(paths) == mine()
    assert run_state.running(paths).nodes["api"].port == 8000


def test_a_run_is_alive_only_while_its_very_process_is(paths: Paths) -> None:
    assert mine().alive
    assert not replace(mine(), started=mine().started - 100).alive, "a reused pid"
    assert not replace(mine(), pid=2**22 - 1).alive


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid":1,"nodes":[]}'])
def test_a_damaged_file_is_no_run(paths: Paths, text: str) -> None:
    paths.state.write_text(text)
    assert run_state.read(paths) is None
    with pytest.raises(NotRunning):
        run_state.running(paths)


def test_the_lock_is_held_by_one_at_a_time_and_names_the_holder(paths: Paths) -> None:
    run_state.write(paths, mine())
    handle = run_state.lock(paths)
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        run_state.require_none(paths)
    os.close(handle)
    run_state.require_none(paths)
