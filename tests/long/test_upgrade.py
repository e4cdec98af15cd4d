"""Upgrade of a running deployment to a release with another schema, and the way back."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from barnabee.backup import restore_points
from barnabee.store.migrations import load_migrations
from support.deployment import ROOT, CommandLoop, Deployment
from support.wait import wait_until

pytestmark = pytest.mark.timeout(600)
SCHEMA = len(load_migrations())


def make_next_release(folder: Path) -> Path:
    """Copy the program and add a migration; return its source folder."""
    source = Path(shutil.copytree(ROOT / "src", folder / "src"))
    migration = source / f"barnabee/store/migrations/{SCHEMA + 1:04}_next.sql"
    migration.write_text("ALTER TABLE facts ADD COLUMN next TEXT;\n", encoding="utf-8")
    return source


def read_schema(database: Path) -> int:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def read_turns(database: Path) -> set[str]:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return {row[0] for row in connection.execute("SELECT trace_id FROM turns")}


async def test_an_upgrade_under_load_loses_nothing_and_can_be_undone(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path / "deployment", demo_home=False)
    with deployment.running():
        database = deployment.paths.database
        conversation = CommandLoop(deployment)
        talking = asyncio.create_task(conversation.run())
        await wait_until(lambda: len(conversation.accepted) >= 20)
        await asyncio.to_thread(deployment.stop)
        before, recorded = len(conversation.accepted), read_turns(database)
        deployment.source = make_next_release(tmp_path / "next")
        await asyncio.to_thread(deployment.start)
        await wait_until(lambda: len(conversation.accepted) >= before + 20)
        talking.cancel()
        with suppress(asyncio.CancelledError):
            await talking
        await conversation.wait_until_recorded()
        assert read_schema(database) == SCHEMA + 1
        point = restore_points.newest(database)
        assert point is not None
        assert point.schema == SCHEMA

        await asyncio.to_thread(deployment.stop)
        deployment.source = ROOT / "src"
        with pytest.raises(AssertionError, match="rollback-data"):
            await asyncio.to_thread(deployment.start)
        done = await asyncio.to_thread(deployment.run_cli, "rollback-data")
        assert done.returncode == 0, done.stdout + done.stderr
        await asyncio.to_thread(deployment.stop)
        await asyncio.to_thread(deployment.start)
        assert read_schema(database) == SCHEMA
        assert recorded <= read_turns(database)
