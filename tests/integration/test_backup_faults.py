"""The object store, the disk, the key or somebody's hand fails: nothing is lost, all of it is told.

Real litestream, real S3 server, with a proxy between them that does what a bad network does. Each
story ends with a restore that is compared with what was there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from barnabee.backup import api_usage, cold_start, drill, litestream, restore, restore_sources
from barnabee.backup.api_usage import Look
from barnabee.core import settings as settings_module
from barnabee.core.errors import BackupFailed, DatabaseCorrupt, DependencyDown
from barnabee.store.conversations import Conversations
from barnabee.store.provider import Keeper
from support.backup import content_of, snapshot
from support.disk import SmallDisk
from support.replica import House, record, replicated_house, restored
from support.s3_proxy import Mode, S3Proxy
from support.turns import make_turn
from support.wait import eventually, until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with replicated_house(tmp_path, monkeypatch) as house:
        yield house


@pytest.fixture
def proxy(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    proxy = S3Proxy(house.s3.port)
    proxy.start()
    monkeypatch.setenv("BARNABEE_REPLICA_ENDPOINT", proxy.url)
    house.settings = settings_module.load(house.system)
    yield proxy
    proxy.stop()


async def comes_back_the_same(house: House) -> None:
    """End of each story: everything reaches the replica, and the disk is lost."""
    await house.replicated()
    final = content_of(house.path)
    house.stop_litestream()
    house.lose_everything()
    assert await restored(house) is cold_start.Outcome.RESTORED
    assert content_of(house.path) == final


async def behind(house: House) -> bool:
    try:
        return (await litestream.lag(house.socket, house.path)).txids > 0
    except DependencyDown:
        return True


@pytest.mark.parametrize(
    "mode",
    [
        "refuse",
        pytest.param("error", marks=pytest.mark.long),
        pytest.param("full", marks=pytest.mark.long),
    ],
)
async def test_while_the_store_fails_the_lag_is_told_and_nothing_is_lost(
    house: House, proxy: S3Proxy, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill, "REPLICATED_WITHIN_S", 2.0)
    await record(house, range(20))
    house.start_litestream()
    await house.replicated()
    proxy.mode = mode
    await record(house, range(20, 60))

    assert await behind(house)
    done = await drill.run(house.system, house.settings)
    assert (done.success, done.step) == (False, "replica: look"), done
    proxy.mode = "pass"
    await comes_back_the_same(house)


@pytest.mark.long
async def test_a_slow_store_is_only_late(house: House, proxy: S3Proxy) -> None:
    await record(house, range(20))
    house.start_litestream()
    await house.replicated()
    proxy.mode, proxy.slow_s = "slow", 0.5
    await record(house, range(20, 28))
    await comes_back_the_same(house)


@pytest.mark.long
async def test_the_listings_that_cannot_be_counted_are_computed_rightly(
    house: House, proxy: S3Proxy
) -> None:
    fast = {"compact_every_s": [2, 6], "transactions_kept_s": 3, "transactions_check_s": 4}
    house.system = house.system.model_copy(
        update={"replica": house.system.replica.model_copy(update=fast)}
    )
    await record(house, range(3))
    house.start_litestream()
    before: Look | None = None
    a = b = c = 0
    for number in range(12):
        await record(house, range(10 + number, 11 + number))
        lag = await house.replicated()
        await asyncio.sleep(1)  # windows end by the clock alone
        port = house.system.port("litestream")
        text = await litestream.metrics("127.0.0.1", port)
        now = api_usage.read_metrics(text, time.time(), lag.local_txid)
        found = api_usage.between(house.system.replica, before, now, {})
        a, b, c, before = a + found[0], b + found[1], c + found[2], now
    seen = proxy.classes
    print(f"\ncomputed a={a} b={b} c={c}, seen through the proxy {seen}")
    assert a == pytest.approx(seen["a"], abs=4)
    assert b == pytest.approx(seen["b"], abs=4)
    assert c == pytest.approx(seen["c"], rel=0.35)


async def test_a_key_that_was_changed_is_told_and_the_new_one_goes_on(
    house: House, tmp_path: Path
) -> None:
    await record(house, range(10))
    house.start_litestream()
    await house.replicated()
    house.s3.kill()
    house.s3.application_key = "another-secret"
    house.s3.start()
    await record(house, range(10, 30))
    await eventually(lambda: behind(house), within_s=10)
    assert await behind(house)

    (tmp_path / "credentials/b2_application_key").write_text("another-secret")
    house.stop_litestream()
    house.start_litestream()
    await comes_back_the_same(house)


async def test_a_database_replaced_under_litestream_is_never_proven_equal_unless_it_is(
    house: House, tmp_path: Path
) -> None:
    await record(house, range(50))
    house.start_litestream()
    await house.replicated()
    snapshot(house)
    other = tmp_path / "other.db"
    source = restore_sources.from_snapshot(house.system, house.settings)
    await restore.elsewhere(other, source, restore.quiet)
    await record(house, range(50, 90))
    for end in ("-wal", "-shm"):
        house.path.with_name(house.path.name + end).unlink(missing_ok=True)
    other.replace(house.path)  # by hand, while litestream has the old file open
    await record(house, range(200, 220))

    done = await drill.run(house.system, house.settings)
    print(f"\nright after: {done.success} at {done.step}: {done.reason}")
    if not done.success:
        house.stop_litestream(signal.SIGKILL)
        house.start_litestream()
        await house.replicated()
        done = await drill.run(house.system, house.settings)
    assert done.success, done
    await comes_back_the_same(house)


async def test_a_second_litestream_on_one_database_is_refused(house: House, tmp_path: Path) -> None:
    await record(house, range(5))

    def start(number: int) -> subprocess.Popen[str]:
        runtime = tmp_path / f"run{number}"
        runtime.mkdir()
        environment = {
            **os.environ,
            "RUNTIME_DIRECTORY": str(runtime),
            "BARNABEE_LITESTREAM_SOCKET": str(house.socket),
            "PYTHONPATH": str(ROOT / "src"),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "barnabee", "replicate"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    first = start(1)
    try:
        await until(house.socket.exists)
        second = start(2)
        _, said = await asyncio.to_thread(second.communicate, timeout=30)
        assert second.returncode == 2
        assert "is streamed by another litestream already" in said
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    third = start(3)  # the lock went with the process, though it was killed
    try:
        await house.replicated()
    finally:
        third.kill()
        third.wait()


async def test_whoever_had_the_database_open_during_a_restore_does_not_write_into_the_old_one(
    house: House,
) -> None:
    await record(house, range(10))
    house.start_litestream()
    await house.replicated()
    house.stop_litestream()
    keeper = Keeper(house.path)
    await Conversations(await keeper.database()).record(make_turn(100))  # not in the replica

    source = await restore_sources.from_replica(house.system, house.settings)
    done = await restore.in_place(house.path, source, restore.Nobody(), restore.quiet, force=True)

    assert done.aside is not None
    with pytest.raises(DatabaseCorrupt, match="replaced"):
        await Conversations(await keeper.database()).record(make_turn(101))
    with pytest.raises(DatabaseCorrupt):
        await keeper.check()
    await Conversations(await keeper.database()).record(make_turn(102))
    await keeper.close()
    assert content_of(house.path).tables["turns"].rows == 11
    assert content_of(done.aside / house.path.name).tables["turns"].rows == 11


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk of its own can only be mounted by root")
async def test_a_disk_that_fills_up_during_a_restore_leaves_what_was_there(
    house: House, tmp_path: Path
) -> None:
    await record(house, range(2000))
    house.start_litestream()
    await house.replicated()
    house.stop_litestream()
    source = await restore_sources.from_replica(house.system, house.settings)
    disk = SmallDisk(tmp_path / "small", size_mib=24)
    disk.mount()
    try:
        target = disk.directory / "barnabee.db"
        shutil.copyfile(house.path, target)
        before = target.read_bytes()

        def fill(step: str, _done: int, _all: int) -> None:
            if step == "fetch":
                disk.fill()

        with pytest.raises(BackupFailed, match=r"`fetch`.*(no space|write)") as failure:
            await restore.in_place(target, source, restore.Nobody(), fill, force=True)
        print(f"\n{failure.value}")
        assert target.read_bytes() == before
        disk.free()
        await restore.in_place(target, source, restore.Nobody(), restore.quiet, force=True)
        assert content_of(target) == content_of(house.path)
    finally:
        disk.unmount()
