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
from barnabee.store.provider import DatabaseProvider
from barnabee.store.sqlite import translate_error
from support.turn_records import make_turn


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "barnabee.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = await open_database(path)
    yield database
    await database.close()


async def test_both_connections_have_the_documented_pragmas(database: Database) -> None:
    def pragmas(connection: sqlite3.Connection) -> dict[str, object]:
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in expected}

    expected = {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "synchronous": 2,  # FULL: a committed turn survives a power cut
        "busy_timeout": 5000,
        "wal_autocheckpoint": 0,  # only litestream checkpoints
    }
    assert await database.write(pragmas) == expected
    assert await database.read(pragmas) == expected


async def test_a_failed_write_is_rolled_back(database: Database) -> None:
    def fail_halfway(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM migrations")
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(fail_halfway)

    count = await database.read(
        lambda db: db.execute("SELECT count(*) FROM migrations").fetchone()[0]
    )
    assert count >= 1


async def test_the_read_connection_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match="cannot be written"):
        await database.read(lambda db: db.execute("DELETE FROM migrations"))


async def test_wrong_sql_is_not_reported_as_an_outage(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.read(lambda db: db.execute("SELECT * FROM nowhere"))


async def test_concurrent_writes_all_succeed(database: Database) -> None:
    conversations = Conversations(database)

    done = await asyncio.gather(*(conversations.record(make_turn(n)) for n in range(50)))

    assert all(done)
    assert len(await conversations.list_turns(limit=100)) == 50


async def test_a_lock_held_too_long_raises_overloaded_until_released(path: Path) -> None:
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


async def test_a_missing_directory_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="mount the data disk"):
        await open_database(tmp_path / "not-mounted" / "barnabee.db")

    assert list(tmp_path.iterdir()) == []


async def test_a_newer_schema_is_refused(database: Database, path: Path) -> None:
    await database.write(lambda db: db.execute("PRAGMA user_version = 9999"))

    with pytest.raises(DatabaseTooNew, match="9999"):
        await open_database(path)


async def test_a_file_that_is_no_database_is_refused_and_unchanged(path: Path) -> None:
    garbage = b"this was a database once" * 1000
    path.write_bytes(garbage)

    with pytest.raises(DatabaseCorrupt, match="barnabee restore"):
        await open_database(path)

    assert path.read_bytes() == garbage
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


async def test_a_damaged_page_is_refused_and_the_file_unchanged(path: Path) -> None:
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


async def test_a_removed_file_refuses_writes_and_checks(database: Database, path: Path) -> None:
    path.unlink()

    with pytest.raises(DatabaseCorrupt, match="removed or replaced"):
        await Conversations(database).record(make_turn(1))
    with pytest.raises(DatabaseCorrupt, match="removed or replaced"):
        await database.check()


async def test_damage_while_running_raises_database_corrupt(database: Database, path: Path) -> None:
    await database.read(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    await database.close()
    reopened = Database(path)
    path.write_bytes(b"\xff" * path.stat().st_size)

    with pytest.raises(DatabaseCorrupt):
        await reopened.check()
    await reopened.close()


async def test_a_closed_database_raises_dependency_down(path: Path) -> None:
    database = await open_database(path)
    await database.close()

    with pytest.raises(DependencyDown, match="closed"):
        await database.check()


def test_a_constraint_violation_is_not_translated(path: Path) -> None:
    error = sqlite3.IntegrityError("UNIQUE constraint failed")

    assert translate_error(error, path) is error


async def test_the_provider_opens_the_database_once_on_demand(path: Path) -> None:
    provider = DatabaseProvider(path, before_migration=None)
    first, second = await asyncio.gather(provider.database(), provider.database())

    assert first is second
    await provider.check()
    await provider.close()


async def test_the_provider_does_not_replace_a_lost_database_by_an_empty_one(path: Path) -> None:
    provider = DatabaseProvider(path, before_migration=None)
    provider.prepare()
    await provider.check()
    for part in path.parent.iterdir():
        part.unlink()

    with pytest.raises(DatabaseCorrupt, match="removed or replaced"):
        await provider.check()
    with pytest.raises(DatabaseCorrupt, match="removed"):
        await provider.check()
    assert not path.exists()


async def test_the_provider_opens_a_database_that_was_restored(path: Path) -> None:
    provider = DatabaseProvider(path, before_migration=None)
    await Conversations(await provider.database()).record(make_turn(1))
    spare = path.with_name("spare.db")
    await (await open_database(spare)).close()
    for end in ("-wal", "-shm"):  # they belong to the old file; a restore moves them aside too
        path.with_name(path.name + end).unlink()
    spare.rename(path)

    with pytest.raises(DatabaseCorrupt):
        await provider.check()
    await provider.check()

    assert await Conversations(await provider.database()).list_turns() == []
    await provider.close()


async def test_prepare_raises_damage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)

    with pytest.raises(DatabaseCorrupt):
        DatabaseProvider(path, before_migration=None).prepare()


async def test_the_database_files_are_group_writable(path: Path) -> None:
    """As under systemd: UMask=0007, and api, worker and litestream are three users."""
    before = os.umask(0o007)
    try:
        database = await open_database(path)
        await database.close()
        modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob(f"{path.name}*")}
    finally:
        os.umask(before)
    assert modes == {0o660}
