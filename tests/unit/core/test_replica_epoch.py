"""Replica epochs: a path in the bucket for each, chosen by the machine's epoch file."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core.system import load_system
from barnabee.store import fence

SYSTEM = load_system()


def test_epoch_1_has_the_path_of_system_toml_and_others_their_own() -> None:
    assert fence.with_epoch(SYSTEM, 1) is SYSTEM
    paths = {fence.with_epoch(SYSTEM, epoch).replica.path for epoch in range(1, 5)}
    assert len(paths) == 4
    # None contains another, so listing or deleting one never affects another.
    assert not [path for path in paths for other in paths if path.startswith(f"{other}/")]


def test_replicating_programs_apply_the_epoch_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(fence.EPOCH_VARIABLE, str(tmp_path / fence.EPOCH_FILE))
    assert fence.with_current_epoch(SYSTEM) is SYSTEM
    fence.write_epoch(tmp_path, 3)
    assert fence.read_epoch(tmp_path) == 3
    assert fence.with_current_epoch(SYSTEM).replica.path == f"{SYSTEM.replica.path}-3"


def test_loading_the_system_reads_no_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable = tmp_path / fence.EPOCH_FILE
    unreadable.mkdir()  # an error for root too, as /data is for a unit outside its group
    monkeypatch.setenv(fence.EPOCH_VARIABLE, str(unreadable))
    assert load_system().replica.path == SYSTEM.replica.path
