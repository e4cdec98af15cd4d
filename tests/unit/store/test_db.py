from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from barnabee.core.errors import (
    DatabaseCorrupt,
    DatabaseTooNew,
    DependencyDown,
    Overloaded,
    SettingInvalid,
)
from barnabee.store.conversations import Conversations
from barnabee.store.db import Database, open_database
from barnabee.store.provider import Keeper
from barnabee.store.sqlite_errors import explain
from support.turns import make_turn


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "barnabee.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = await open_database(path)
    yield database
    await database.close()


async def test_the_promised_pragmas_hold(database: Database) -> None:
    def pragmas(connection: sqlite3.Connection) -> dict[str, object]:
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in expected}

    expected = {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "synchronous": 1,
        "busy_timeout": 5000,
        "wal_autocheckpoint": 0,  # litestream empties the log, nobody else
    }
    assert await database.write(pragmas) == expected
    assert await database.read(pragmas) == expected


async def test_a_write_is_done_whole_or_not_at_all(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM migrations")
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(half)

    count = await database.read(
        lambda db: db.execute("SELECT count(*) FROM migrations").fetchone()[0]
    )
    assert count >= 1


async def test_reading_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match="cannot be written"):
        await database.read(lambda db: db.execute("DELETE FROM migrations"))


async def test_a_mistake_in_sql_is_not_called_an_outage(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.read(lambda db: db.execute("SELECT * FROM nowhere"))


async def test_many_writers_at_once_all_get_through(database: Database) -> None:
    conversations = Conversations(database)

    done = await asyncio.gather(*(conversations.record(make_turn(n)) for n in range(50)))

    assert all(done)
    assert len(await conversations.turns(limit=100)) == 50


async def test_a_lock_held_too_long_is_named_and_passes(path: Path) -> None:
    database = await open_database(path, busy_timeout_ms=50)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(Overloaded, match="busy"):
            await database.check()
        other.execute("ROLLBACK")
        await database.check()
    finally:
        other.close()
        await database.close()


async def test_a_missing_directory_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="mount the data disk"):
        await open_database(tmp_path / "not-mounted" / "barnabee.db")

    assert list(tmp_path.iterdir()) == []


async def test_a_newer_schema_is_refused(database: Database, path: Path) -> None:
    await database.write(lambda db: db.execute("PRAGMA user_version = 9999"))

    with pytest.raises(DatabaseTooNew, match="9999"):
        await open_database(path)


async def test_rubbish_is_refused_and_left_as_it_is(path: Path) -> None:
    rubbish = b"this was a database once" * 1000
    path.write_bytes(rubbish)

    with pytest.raises(DatabaseCorrupt, match="barnabee restore"):
        await open_database(path)

    assert path.read_bytes() == rubbish
    assert [one.name for one in path.parent.iterdir()] == [path.name]


async def test_a_damaged_page_is_found_and_the_file_left_as_it_is(path: Path) -> None:
    database = await open_database(path)
    conversations = Conversations(database)
    for number in range(300):
        await conversations.record(make_turn(number))
    await database.close()
    content = bytearray(path.read_bytes())
    for page in range(4, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(content)

    with pytest.raises(DatabaseCorrupt, match="barnabee restore"):
        await open_database(path)

    assert path.read_bytes() == bytes(content)


async def test_a_file_removed_or_replaced_while_open_takes_no_more_writes(
    database: Database, path: Path
) -> None:
    path.unlink()

    with pytest.raises(DatabaseCorrupt, match="removed or replaced"):
        await Conversations(database).record(make_turn(1))
    with pytest.raises(DatabaseCorrupt, match="removed or replaced"):
        await database.check()


async def test_damage_while_running_is_named(database: Database, path: Path) -> None:
    await database.read(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    await database.close()
    late = Database(path)
    path.write_bytes(b"\xff" * path.stat().st_size)

    with pytest.raises(DatabaseCorrupt):
        await late.check()
    await late.close()


async def test_a_closed_database_says_so(path: Path) -> None:
    database = await open_database(path)
    await database.close()

    with pytest.raises(DependencyDown, match="closed"):
        await database.check()


def test_a_broken_constraint_keeps_its_name(path: Path) -> None:
    error = sqlite3.IntegrityError("UNIQUE constraint failed")

    assert explain(error, path) is error


async def test_the_keeper_opens_late_and_once(path: Path) -> None:
    keeper = Keeper(path)
    first, second = await asyncio.gather(keeper.database(), keeper.database())

    assert first is second
    await keeper.check()
    await keeper.close()


async def test_the_keeper_never_replaces_a_lost_database_by_an_empty_one(path: Path) -> None:
    keeper = Keeper(path)
    keeper.start()
    await keeper.check()
    for part in path.parent.iterdir():
        part.unlink()

    with pytest.raises(DatabaseCorrupt, match="removed or replaced"):
        await keeper.check()
    with pytest.raises(DatabaseCorrupt, match="removed"):
        await keeper.check()
    assert not path.exists()


async def test_the_keeper_takes_up_a_database_that_was_put_back(path: Path) -> None:
    keeper = Keeper(path)
    await Conversations(await keeper.database()).record(make_turn(1))
    spare = path.with_name("spare.db")
    await (await open_database(spare)).close()
    for end in ("-wal", "-shm"):  # they belong to the old one; `restore` moves them aside too
        path.with_name(path.name + end).unlink()
    spare.rename(path)

    with pytest.raises(DatabaseCorrupt):
        await keeper.check()
    await keeper.check()

    assert await Conversations(await keeper.database()).turns() == []
    await keeper.close()


async def test_the_keeper_raises_damage_at_once(path: Path) -> None:
    path.write_bytes(b"rubbish" * 1000)

    with pytest.raises(DatabaseCorrupt):
        Keeper(path).start()


async def test_every_user_of_the_group_may_write_it(path: Path) -> None:
    """As under systemd: UMask=0007, and api, worker and litestream are three users."""
    before = os.umask(0o007)
    try:
        database = await open_database(path)
        await database.close()
        modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.glob(f"{path.name}*")}
    finally:
        os.umask(before)
    assert modes == {0o660}
