"""Database on a read-only or full disk, and opened by several processes at once."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from barnabee.core.errors import DatabaseFull, DatabaseReadOnly, Unavailable
from barnabee.store import migrations
from barnabee.store.conversations import Conversations
from barnabee.store.db import open_database
from barnabee.store.provider import DatabaseProvider
from support.disk import SmallDisk
from support.programs import needs_program
from support.turn_records import make_turn

ROOT = Path(__file__).parents[2]
OPEN_AND_RECORD = """
import asyncio, sys
from pathlib import Path
from barnabee.store.conversations import Conversations
from barnabee.store.db import open_database
from support.turn_records import make_turn

async def main():
    database = await open_database(Path(sys.argv[1]))
    for number in range(20):
        await Conversations(database).record(make_turn(int(sys.argv[2]) * 100 + number))
    await database.close()

asyncio.run(main())
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk")
    disk.mount()
    yield disk
    disk.unmount()


async def fill_until_refused(conversations: Conversations) -> Unavailable:
    """Record turns until SQLite has no room left; return the error."""
    try:
        for number in range(100, 100_000):
            await conversations.record(make_turn(number, reply="x" * 50_000))
    except Unavailable as error:
        return error
    raise AssertionError("the disk never became full")


async def test_a_full_disk_raises_database_full_and_loses_nothing(disk: SmallDisk) -> None:
    database = await open_database(disk.directory / "barnabee.db")
    conversations = Conversations(database)
    await conversations.record(make_turn(1))
    disk.fill()

    assert isinstance(await fill_until_refused(conversations), DatabaseFull)
    with pytest.raises(DatabaseFull, match="free some space"):
        await database.check()
    assert await conversations.get_turn(make_turn(1).trace_id) == make_turn(1)

    disk.free()
    await database.check()
    assert await conversations.record(make_turn(2)) is True
    await database.close()


async def test_low_disk_space_raises_database_full(disk: SmallDisk) -> None:
    database = await open_database(disk.directory / "barnabee.db")
    (disk.directory / "ballast").write_bytes(bytes(25 * 1024 * 1024))

    with pytest.raises(DatabaseFull):
        await database.check()
    await database.close()


async def test_a_read_only_disk_raises_database_read_only_until_repaired(disk: SmallDisk) -> None:
    database = await open_database(disk.directory / "barnabee.db")
    await database.check()

    disk.make_read_only()
    try:
        with pytest.raises(DatabaseReadOnly, match="owner, mode and mount"):
            await database.check()
    finally:
        disk.make_writable()
    await database.check()
    await database.close()


async def test_a_check_writes_nothing_to_the_log(tmp_path: Path) -> None:
    path = tmp_path / "barnabee.db"
    database = await open_database(path)
    log = path.with_name(path.name + "-wal")
    before = log.stat()

    for _ in range(5):
        await database.check()

    assert (log.stat().st_size, log.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    await database.close()


@needs_program("chattr", "e2fsprogs")
async def test_an_immutable_file_raises_database_read_only(tmp_path: Path) -> None:
    path = tmp_path / "barnabee.db"
    database = await open_database(path)
    # a file mode does not bind root, who runs this; the immutable flag does
    done = subprocess.run(["chattr", "+i", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"this test needs root and a file system with flags: {done.stderr}"
    try:
        with pytest.raises(DatabaseReadOnly):
            await database.check()
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)
    await database.close()


async def test_the_provider_recovers_after_a_start_on_a_read_only_disk(disk: SmallDisk) -> None:
    path = disk.directory / "barnabee.db"
    await (await open_database(path)).close()
    disk.make_read_only()
    provider = DatabaseProvider(path, before_migration=None)
    try:
        provider.prepare()
        with pytest.raises(DatabaseReadOnly):
            await provider.check()
        with pytest.raises(DatabaseReadOnly):
            await Conversations(await provider.database()).record(make_turn(1))
    finally:
        disk.make_writable()

    assert await Conversations(await provider.database()).record(make_turn(1)) is True
    await provider.check()
    await provider.close()


async def test_a_full_disk_at_the_first_start_raises_database_full(disk: SmallDisk) -> None:
    disk.fill()

    with pytest.raises(DatabaseFull):
        await open_database(disk.directory / "barnabee.db")

    disk.free()
    await (await open_database(disk.directory / "barnabee.db")).close()


async def test_four_processes_open_a_new_database_at_once(tmp_path: Path) -> None:
    path = tmp_path / "barnabee.db"
    starting = [
        asyncio.create_subprocess_exec(
            *(sys.executable, "-c", OPEN_AND_RECORD, str(path), str(number)),
            env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
            stderr=subprocess.PIPE,
        )
        for number in range(4)
    ]
    processes = await asyncio.gather(*starting)
    ends = await asyncio.gather(*(process.communicate() for process in processes))

    assert [(process.returncode, end[1]) for process, end in zip(processes, ends, strict=True)] == [
        (0, b"")
    ] * 4
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM turns").fetchone() == (80,)
        applied = connection.execute("SELECT number FROM migrations").fetchall()
    assert applied == [(step.number,) for step in migrations.load_migrations()]
