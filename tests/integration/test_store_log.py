"""The write-ahead log is removed or replaced while services have the database open."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from barnabee.core.errors import DependencyDown
from barnabee.store import database_files
from barnabee.store.conversations import Conversations
from barnabee.store.db import Database, open_database
from support.turn_records import make_turn

ROOT = Path(__file__).parents[2]
WRITER = """
import asyncio, sys
from pathlib import Path
from barnabee.core.errors import DependencyDown
from barnabee.store import database_files
from barnabee.store.conversations import Conversations
from barnabee.store.db import open_database
from support.turn_records import make_turn

async def main():
    database = await open_database(Path(sys.argv[1]))
    for line in sys.stdin:
        try:
            await Conversations(database).record(make_turn(int(line)))
            print("stored", flush=True)
        except DependencyDown as error:
            print("refused", flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await open_database(tmp_path / "barnabee.db")
    yield database
    await database.close()


class OtherProcess:
    """Another process that has the database open and records turns."""

    def __init__(self, database: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
        )

    def record(self, number: int) -> str:
        """Record a turn; return "stored" or "refused"."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        while (line := self.process.stdout.readline().strip()) not in {"stored", "refused"}:
            assert line, "it ended"
        return line

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def other(database: Database) -> Iterator[OtherProcess]:
    other = OtherProcess(database.path)
    yield other
    other.kill()


def read_after_power_cut(database: Path, folder: Path) -> list[int]:
    """Return the turns that a new process finds in the files as they are now."""
    folder.mkdir()
    for end in ("", "-wal"):
        if Path(f"{database}{end}").exists():
            shutil.copy(f"{database}{end}", folder)
    with closing(sqlite3.connect(folder / database.name)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        rows = connection.execute("SELECT trace_id FROM turns ORDER BY trace_id").fetchall()
    return [int(row[0], 16) for row in rows]


async def record(database: Database, number: int) -> None:
    await Conversations(database).record(make_turn(number))


def unlink(*ends: str) -> Callable[[Path], None]:
    def inflict(path: Path) -> None:
        for end in ends:
            Path(f"{path}{end}").unlink()

    return inflict


def cut_log(path: Path) -> None:
    wal = Path(f"{path}-wal")
    os.truncate(wal, wal.stat().st_size - 4096 - 24)


def replace_by_an_empty_log(path: Path) -> None:
    empty = path.with_name("empty")
    empty.touch()
    empty.replace(f"{path}-wal")


def replace_by_another_log(path: Path) -> None:
    other = path.with_name("other.db")
    connection = sqlite3.connect(other)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE foreign_table (x)")
    Path(f"{other}-wal").replace(f"{path}-wal")
    connection.close()


DAMAGE = {
    "log": unlink("-wal"),
    "index": unlink("-shm"),
    "log and index": unlink("-wal", "-shm"),
    "empty log": replace_by_an_empty_log,
    "another log": replace_by_another_log,
}


@pytest.mark.parametrize("inflict", DAMAGE.values(), ids=DAMAGE)
async def test_no_turn_is_lost_when_the_log_vanishes(
    database: Database, other: OtherProcess, tmp_path: Path, inflict: Callable[[Path], None]
) -> None:
    await record(database, 1)
    assert other.record(2) == "stored"
    inflict(database.path)
    with pytest.raises(DependencyDown, match="write-ahead log was removed or replaced"):
        await record(database, 3)
    await record(database, 3)
    while other.record(4) == "refused":
        pass
    await record(database, 5)
    assert other.record(6) == "stored"
    await database.check()
    assert read_after_power_cut(database.path, tmp_path / "cut") == [1, 2, 3, 4, 5, 6]


async def test_the_health_check_notices_that_the_log_vanished(
    database: Database, tmp_path: Path
) -> None:
    await record(database, 1)
    Path(f"{database.path}-wal").unlink()
    with pytest.raises(DependencyDown, match="write-ahead log"):
        await database.check()
    await database.check()
    assert read_after_power_cut(database.path, tmp_path / "cut") == [1]


async def test_an_idle_process_does_not_put_an_old_log_back(
    database: Database, other: OtherProcess, tmp_path: Path
) -> None:
    await record(database, 1)
    assert other.record(2) == "stored"
    Path(f"{database.path}-wal").unlink()
    with pytest.raises(DependencyDown):
        await record(database, 3)
    for number in range(3, 10):
        await record(database, number)
    await database.write(lambda connection: connection.execute("SELECT 1"))
    with closing(sqlite3.connect(database.path)) as checkpointer:
        checkpointer.execute("PRAGMA wal_checkpoint(RESTART)")
    await record(database, 10)
    assert other.record(11) == "refused"
    assert other.record(11) == "stored"
    await record(database, 12)
    assert read_after_power_cut(database.path, tmp_path / "cut") == list(range(1, 13))


async def test_what_was_in_place_of_the_log_is_kept_and_named(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    await record(database, 1)
    replace_by_another_log(database.path)
    with pytest.raises(DependencyDown):
        await record(database, 2)
    kept = list(database.path.parent.glob("*-wal.replaced-*"))
    assert len(kept) == 1
    assert kept[0].name in capsys.readouterr().out


@pytest.mark.parametrize(
    ("offset", "count", "lost"),
    [(32 + 24 + 4096, 4096, "[1-9]"), (0, 4096, "unknown"), (32 + 2 * 4120, 1 << 20, "unknown")],
    ids=["page", "header", "tail"],
)
async def test_transactions_behind_damage_in_the_log_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], offset: int, count: int, lost: str
) -> None:
    other = OtherProcess(tmp_path / "barnabee.db")
    for number in range(1, 6):
        assert other.record(number) == "stored"
    other.kill()
    with (tmp_path / "barnabee.db-wal").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(offset)
        file.write(bytes(min(count, size - offset)))
    database = await open_database(tmp_path / "barnabee.db")
    await database.close()
    assert re.search(rf"database_log_damaged .*lost_transactions={lost}", capsys.readouterr().out)
    assert len(list(tmp_path.glob("*-wal.damaged-*"))) == 1


async def test_an_undamaged_log_of_a_killed_process_is_not_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = OtherProcess(tmp_path / "barnabee.db")
    for number in range(1, 6):
        assert other.record(number) == "stored"
    with closing(sqlite3.connect(tmp_path / "barnabee.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
    assert other.record(6) == "stored"
    other.kill()
    database = await open_database(tmp_path / "barnabee.db")
    await database.close()
    assert "database_log" not in capsys.readouterr().out


@pytest.mark.parametrize("inflict", [unlink("-wal"), cut_log], ids=["removed", "cut"])
async def test_a_log_that_was_cut_while_nothing_ran_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], inflict: Callable[[Path], None]
) -> None:
    other = OtherProcess(tmp_path / "barnabee.db")
    for number in range(1, 6):
        assert other.record(number) == "stored"
    other.kill()
    inflict(tmp_path / "barnabee.db")
    database = await open_database(tmp_path / "barnabee.db")
    await database.close()
    assert re.search(r"database_log_cut .*lost_pages=[1-9]", capsys.readouterr().out)


async def test_reading_the_index_releases_none_of_sqlites_locks(tmp_path: Path) -> None:
    path = tmp_path / "barnabee.db"
    database = await open_database(path)
    await Conversations(database).record(make_turn(1))
    inode = Path(f"{path}-shm").stat().st_ino

    def read_locks() -> list[str]:
        lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
        return sorted(line.partition(": ")[2] for line in lines if f":{inode} " in line)

    before = read_locks()
    assert before
    assert database_files.count_lost_commits(path) == 0
    database_files.report_missing_frames(path)
    assert read_locks() == before
    await database.close()
