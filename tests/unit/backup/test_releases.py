"""Data directories of earlier versions: read, migrated, backed up and restored."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from barnabee.backup import integrity, restore, restore_points, restore_sources, snapshot_job
from barnabee.backup.snapshots import ignore_progress
from barnabee.core import settings as settings_module
from barnabee.core import system as system_module
from barnabee.core.errors import DatabaseTooNew
from barnabee.core.settings import Settings
from barnabee.store import db
from barnabee.store.conversations import Conversations
from barnabee.store.migrations import load_migrations
from support.programs import needs_program
from support.replica import use_database

RELEASES = sorted((Path(__file__).parents[2] / "data/releases").glob("schema-*.tar.gz"))
SYSTEM = system_module.load_system()
NEWEST = len(load_migrations())
TURNS = 20


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BARNABEE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DATABASE_PATH", str(tmp_path / "data/barnabee.db"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    return settings_module.read_settings(SYSTEM)


def unpack(archive: Path, settings: Settings) -> int:
    """Unpack a data directory and return its schema."""
    with tarfile.open(archive) as tar:
        tar.extractall(settings.data_dir, filter="data")
    return int(archive.name.removeprefix("schema-").partition(".")[0])


def read_schema(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


async def read_texts(database: Path) -> list[tuple[str, str]]:
    async with use_database(database) as opened:
        turns = await Conversations(opened).list_turns(limit=100)
        facts = await opened.read(lambda c: c.execute("SELECT text FROM facts").fetchall())
    assert [tuple(fact) for fact in facts] == [("the spare key is in the shed",)]
    return sorted((turn.utterance, turn.reply) for turn in turns)


def test_each_schema_has_a_release() -> None:
    found = [int(match[1]) for path in RELEASES if (match := re.match(r"schema-(\d+)", path.name))]
    assert found == list(range(1, NEWEST + 1))


@pytest.mark.parametrize("archive", RELEASES, ids=lambda path: path.name)
async def test_a_release_is_pinned_migrated_and_read(archive: Path, settings: Settings) -> None:
    schema, path = unpack(archive, settings), settings.database_path
    expected = [(f"what is {n} plus {n}", str(2 * n)) for n in range(TURNS)]
    before = restore_points.list_restore_points(path)
    assert read_schema(path) == schema

    hook = restore_points.make_migration_hook(lambda: 0)
    await asyncio.to_thread(db.prepare_database, path, before_migration=hook)

    assert await read_texts(path) == sorted(expected)
    assert read_schema(path) == NEWEST
    new = restore_points.list_restore_points(path)[len(before) :]
    assert [point.schema for point in new] == ([] if schema == NEWEST else [schema])
    for point in (*before, *new):  # also those that the earlier version made
        copy = restore_points.copy_path(path, point)
        integrity.check_integrity(copy)
        assert integrity.count_file_rows(copy)["turns"] == TURNS


@needs_program("restic", "restic")
@pytest.mark.parametrize("archive", RELEASES, ids=lambda path: path.name)
def test_a_release_is_backed_up_and_restored(archive: Path, settings: Settings) -> None:
    unpack(archive, settings)
    earlier = snapshot_job.snapshots.read_state(settings).count
    db.prepare_database(settings.database_path)
    expected = integrity.read_file_content(settings.database_path)

    state = snapshot_job.run_snapshot_job(SYSTEM, settings)

    assert state.count == earlier + 1
    source = restore_sources.find_snapshot_source(SYSTEM, settings)
    target = settings.data_dir / "restored.db"
    asyncio.run(restore.restore_to_file(target, source, ignore_progress))
    assert integrity.describe_differences(expected, integrity.read_file_content(target)) == []


@needs_program("restic", "restic")
def test_the_snapshots_of_releases_are_restored(settings: Settings) -> None:
    for archive in RELEASES:
        unpack(archive, settings)
    [legacy] = (settings.data_dir / "snapshots").glob("*.db.gz")
    sources = [
        restore_sources.find_legacy_source(legacy, None),
        restore_sources.find_snapshot_source(SYSTEM, settings),
    ]
    for number, source in enumerate(sources):
        target = settings.data_dir / f"restored-{number}.db"
        result = asyncio.run(restore.restore_to_file(target, source, ignore_progress))
        assert integrity.count_file_rows(target)["turns"] == TURNS
        assert result.rows > TURNS


@pytest.mark.parametrize("archive", RELEASES[:-1], ids=lambda path: path.name)
def test_an_earlier_program_refuses_and_names_the_way_back(
    archive: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema, path = unpack(archive, settings), settings.database_path
    hook = restore_points.make_migration_hook(lambda: 0)
    db.prepare_database(path, before_migration=hook)
    content = path.read_bytes()
    monkeypatch.setattr(db.migrations, "load_migrations", lambda: load_migrations()[:schema])

    with pytest.raises(DatabaseTooNew, match="rollback-data"):
        db.prepare_database(path)
    assert path.read_bytes() == content
    point = restore_points.newest(path)
    assert point is not None
    source = restore_sources.find_restore_point_source(settings, point)
    asyncio.run(
        restore.restore_in_place(
            *(path, source, restore.NoWriters(), ignore_progress), force=True, migrate=False
        )
    )
    db.prepare_database(path)
    assert read_schema(path) == schema
