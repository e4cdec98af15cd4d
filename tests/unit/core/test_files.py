from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core.errors import NotRunning
from barnabee.core.files import lock_file, write_atomically


def test_replaced_content_has_the_given_mode(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    target.write_text("old")
    write_atomically(target, "new", mode=0o600, durable=True)
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [target]


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "state.json"
    target.write_text("old")

    def fail(_self: Path, _target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, b"new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_taken_lock_raises_the_given_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock_file(path), pytest.raises(NotRunning), lock_file(path, if_taken=NotRunning()):
        pytest.fail("two holders")


def test_lock_is_free_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock_file(path):
        pass
    with lock_file(path, if_taken=NotRunning()):
        pass
