"""A replica that cannot be asked or gives back rubbish: nothing starts on an empty database."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from barnabee.backup import litestream, restore, restore_sources
from barnabee.backup.cold_start import Outcome
from barnabee.core.errors import (
    BackupDamaged,
    BackupUnreachable,
    BadRequest,
    DependencyDown,
    NotFound,
    SettingMissing,
)
from barnabee.store.conversations import Conversations
from support.replica import House, expected, opened, record, replicated_house, restored, rows
from support.turns import make_turn
from support.wait import eventually


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with replicated_house(tmp_path, monkeypatch) as house:
        yield house


@contextlib.contextmanager
def silent_server(port: int) -> Iterator[None]:
    """Accept connections and say nothing, as a firewall or a hung server would."""
    with socket.create_server(("127.0.0.1", port)):
        yield


async def test_an_s3_server_that_is_down_is_not_an_empty_one(house: House) -> None:
    house.s3.kill()

    with pytest.raises(BackupUnreachable, match="nothing was started on an empty database"):
        await restored(house, budget_s=8)
    assert not house.path.exists()


async def test_an_s3_server_that_hangs_is_not_an_empty_one(house: House) -> None:
    house.s3.kill()

    with silent_server(house.s3.port), pytest.raises(BackupUnreachable, match="no answer"):
        await restored(house, budget_s=8)


@pytest.mark.parametrize(("name", "reason"), [("b2_application_key", "403"), ("bucket", "404")])
async def test_a_wrong_key_or_bucket_is_not_an_empty_replica(
    house: House, tmp_path: Path, name: str, reason: str
) -> None:
    if name == "bucket":
        (house.s3.directory / house.s3.bucket).rmdir()
    else:
        (tmp_path / "credentials" / name).write_text("wrong")

    with pytest.raises(BackupUnreachable, match=reason):
        await restored(house, budget_s=7)


async def test_without_a_key_nothing_starts_on_an_empty_database(
    house: House, tmp_path: Path
) -> None:
    (tmp_path / "credentials" / "b2_key_id").unlink()

    with pytest.raises(SettingMissing, match="b2_key_id"):
        await restored(house)


async def test_an_s3_server_that_comes_up_late_is_waited_for(house: House) -> None:
    await record(house, range(5))
    house.start_litestream()
    await house.replicated()
    house.stop_litestream()
    house.lose_everything()
    house.s3.kill()
    restoring = asyncio.create_task(restored(house, budget_s=60))
    await asyncio.sleep(0)

    house.s3.start()

    assert await restoring is Outcome.RESTORED
    assert await rows(house) == expected(range(5))


async def test_a_damaged_database_is_replaced_on_request_and_kept(house: House) -> None:
    await record(house, range(10))
    house.start_litestream()
    await house.replicated()
    house.stop_litestream()
    rubbish = b"what a bad disk made of it" * 1000
    house.path.write_bytes(rubbish)

    with pytest.raises(BadRequest, match="--force"):
        await put_back(house, force=False)
    assert house.path.read_bytes() == rubbish

    aside = await put_back(house, force=True)
    assert aside is not None
    assert (aside / "barnabee.db").read_bytes() == rubbish
    assert await rows(house) == expected(range(10))


async def test_with_an_empty_replica_a_forced_restore_changes_nothing(house: House) -> None:
    await record(house, range(3))

    with pytest.raises(NotFound, match="backup"):
        await put_back(house, force=True)
    assert await rows(house) == expected(range(3))


async def test_a_damaged_backup_is_refused_and_changes_nothing(house: House) -> None:
    await record(house, range(300))
    house.start_litestream()
    await house.replicated()
    house.stop_litestream()
    for file in house.s3.directory.rglob("*.ltx"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 40] = b"\xff" * 40
        file.write_bytes(content)
    house.lose_everything()

    with pytest.raises((BackupDamaged, BackupUnreachable)):
        await restored(house, budget_s=7)
    assert not house.path.exists()


async def test_a_litestream_that_was_away_for_more_than_a_checkpoint_misses_nothing(
    house: House,
) -> None:
    copied, numbers = range(250), range(450)
    async with opened(house.path) as database:
        turns = Conversations(database)
        await turns.record(make_turn(copied[0]))
        house.start_litestream()
        await house.replicated()
        await eventually(lambda: _first_snapshot(house), within_s=10)
        for number in copied[1:]:
            await turns.record(make_turn(number))
        await house.replicated()
        house.stop_litestream(signal.SIGKILL)
        # SQLite's own limit is 1000 pages: the log would begin anew, shorter than what was copied.
        for number in numbers[len(copied) :]:
            await turns.record(make_turn(number))
        log_bytes = _log(house).stat().st_size
        house.start_litestream()
        await house.replicated()
    house.stop_litestream()
    house.lose_everything()

    assert await restored(house) is Outcome.RESTORED
    assert await rows(house) == expected(numbers)
    assert log_bytes > 1200 * 4096


async def test_asking_for_the_lag_does_not_let_others_empty_the_log(house: House) -> None:
    await record(house, range(1))
    house.start_litestream()
    await house.replicated()
    header = _log_header(house)
    with contextlib.closing(sqlite3.connect(house.path, isolation_level=None)) as stranger:
        assert stranger.execute("PRAGMA wal_autocheckpoint").fetchone()[0] > 0
        stranger.execute("CREATE TABLE IF NOT EXISTS strange (text)")
        for _ in range(5):
            found = stranger.execute("PRAGMA wal_checkpoint").fetchone()
            stranger.execute("INSERT INTO strange VALUES ('it would begin the log anew')")
    assert found[2] < found[1]
    assert _log_header(house) == header


async def test_a_litestream_that_hangs_is_not_asked_again_and_again(house: House) -> None:
    await record(house, range(1))
    house.s3.kill()
    with silent_server(house.s3.port):
        house.start_litestream()

        async def hangs() -> bool:
            with pytest.raises(DependencyDown, match="hangs in its phase"):
                await litestream.lag(house.socket, house.path)
            return True

        assert await eventually(hangs, within_s=15)
        started = time.monotonic()
        await hangs()
        assert time.monotonic() - started < litestream.ASK_TIMEOUT_S / 2


async def put_back(house: House, *, force: bool) -> Path | None:
    source = await restore_sources.from_replica(house.system, house.settings)
    nobody, quiet = restore.Nobody(), restore.quiet
    return (await restore.in_place(house.path, source, nobody, quiet, force=force)).aside


async def _first_snapshot(house: House) -> bool:
    """Tell that there is one: a later one would cover up what was missed."""
    return bool(list(house.s3.directory.rglob("0009/*.ltx")))


def _log(house: House) -> Path:
    return house.path.with_name(f"{house.path.name}-wal")


def _log_header(house: House) -> bytes:
    with _log(house).open("rb") as log:
        return log.read(32)
