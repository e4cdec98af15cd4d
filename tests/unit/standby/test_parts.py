"""Lines, lost rows, Redis' role, and how it is told in words."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from barnabee.core import replica_epoch, system
from barnabee.standby import divergence, redis_replication
from barnabee.standby import status as texts

SYSTEM = system.load(of_first_line=True)


def test_line_1_is_the_place_of_system_toml_and_each_other_has_its_own() -> None:
    assert replica_epoch.at(SYSTEM, 1) is SYSTEM
    paths = {replica_epoch.at(SYSTEM, number).replica.path for number in range(1, 5)}
    assert len(paths) == 4
    # Neither lies within another: what is listed or deleted in one is in no other.
    assert not [one for one in paths for other in paths if one.startswith(f"{other}/")]


def test_every_reader_of_system_toml_is_told_the_line_of_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(replica_epoch.ENVIRONMENT, str(tmp_path / replica_epoch.FILE))
    assert system.load().replica.path == SYSTEM.replica.path
    replica_epoch.write(tmp_path, 3)
    assert replica_epoch.read(tmp_path) == 3
    assert system.load().replica.path == f"{SYSTEM.replica.path}-3"
    assert system.load(of_first_line=True).replica.path == SYSTEM.replica.path


def database(path: Path, turns: list[str], *, open_log: bool = False) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE turns (trace_id TEXT PRIMARY KEY) STRICT")
        connection.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY) STRICT")
        connection.executemany("INSERT INTO turns VALUES (?)", [(turn,) for turn in turns])
        connection.commit()
        if open_log:  # as kill -9 leaves it
            for part in ("", "-wal"):
                copy = path.with_name(f"killed.db{part}")
                copy.write_bytes(path.with_name(path.name + part).read_bytes())
    return path.with_name("killed.db") if open_log else path


def test_rows_that_are_in_one_database_alone_are_named_and_neither_is_changed(
    tmp_path: Path,
) -> None:
    old = database(tmp_path / "old.db", ["a", "b", "c"], open_log=True)
    new = database(tmp_path / "new.db", ["a", "d"])
    before = old.read_bytes(), old.with_name("killed.db-wal").read_bytes()
    missing = divergence.rows_missing(old, new)
    assert missing == {"turns": ["b", "c"]}
    assert (old.read_bytes(), old.with_name("killed.db-wal").read_bytes()) == before
    assert (
        divergence.name(tmp_path, missing).read_text()
        == '{\n  "turns": [\n    "b",\n    "c"\n  ]\n}\n'
    )


def test_what_is_no_database_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "old.db").write_bytes(b"not a database at all" * 99)
    with pytest.raises(ValueError, match="not a database"):
        divergence.rows_missing(tmp_path / "old.db", database(tmp_path / "new.db", []))


@pytest.mark.parametrize(
    ("answer", "master"),
    [
        ([b"master", 0, []], None),
        ([b"slave", b"10.77.0.12", 6379, b"connected", 9], ("10.77.0.12", 6379)),
        ([], None),
    ],
)
def test_whose_copy_a_redis_is(answer: list[Any], master: redis_replication.Address | None) -> None:
    assert redis_replication.parse_role(answer) == master


def told(**changes: Any) -> dict[str, Any]:
    return {
        "host": "manofwar",
        "wish": "follow",
        "holder": "barnabee-core",
        "line": 1,
        "signs": ["follow"],
        "left_s": 0,
        "heard": True,
        "reason": "",
        "aside": False,
        "follow": {"line": 1, "txid": 9, "at": 0.0},
        "set_aside": [],
        **changes,
    }


def test_how_it_is_told_in_words() -> None:
    text = "\n".join(texts.lines(told(), SYSTEM.standby))
    assert "held by barnabee-core, line 1" in text
    assert "manofwar follows (it is to follow)" in text
    assert "line 1, transaction 9" in text
    alone = told(holder=None, signs=["serve"], heard=False, reason="no answer within 4 s")
    text = "\n".join(texts.lines(alone, SYSTEM.standby))
    assert "held by nobody" in text
    assert "waits in the queue" in text
    assert "does not answer: no answer within 4 s" in text
    aside = told(set_aside=[{"folder": "/data/x", "unreplicated": {"turns": ["a", "b"]}}])
    assert "2 turns that are nowhere else" in "\n".join(texts.lines(aside, SYSTEM.standby))
