"""The primary dies, the stand-by takes over, the primary comes back: real parts, one real store."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from barnabee.backup import litestream
from barnabee.clients.queue import Queue
from barnabee.core.errors import DependencyDown, NotTheHolder
from barnabee.core.redis_client import RedisLink
from barnabee.standby import redis_replication
from barnabee.store.conversations import Conversations
from barnabee.store.db import open_database
from barnabee.store.fence import fence
from support.standby import FAST, Machine, two_machines
from support.turns import make_turn
from support.wait import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


def ids(numbers: range) -> set[str]:
    return {make_turn(number).trace_id for number in numbers}


def rows(machine: Machine) -> set[str]:
    """Return the trace ids in a machine's database, as a stranger reads it."""
    uri = f"{machine.database.as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return {row[0] for row in connection.execute("SELECT trace_id FROM turns")}
    except sqlite3.Error as error:
        raise AssertionError(str(error)) from error


async def say(machine: Machine, numbers: range) -> None:
    """Put turns into the queue of a machine, as the api does."""
    queue = Queue(machine.redis.url)
    try:
        for number in numbers:
            turn = make_turn(number)
            await queue.enqueue("record_turn", turn.as_dict(), job_id=turn.trace_id)
    finally:
        await queue.aclose()


async def recorded(machine: Machine, wanted: set[str]) -> None:
    async def there() -> bool:
        missing = wanted - rows(machine)
        assert not missing, f"{len(missing)} rows are missing on {machine.host}"
        return True

    await eventually(there, within_s=45)


async def serves(machine: Machine) -> None:
    async def started() -> bool:
        return bool(machine.served_at)

    await eventually(started, within_s=45)


async def replicated(machine: Machine) -> None:
    async def no_lag() -> bool:
        try:
            return not (await litestream.lag(machine.socket, machine.database)).txids
        except DependencyDown as error:
            raise AssertionError(str(error)) from error

    await eventually(no_lag, within_s=30)


async def copied(machine: Machine, wanted: set[str]) -> None:
    """Wait until the follower's copy and the Redis have what the other machine has."""

    async def there() -> bool:
        uri = f"{(machine.data / 'standby/copy.db').as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                found = {row[0] for row in connection.execute("SELECT trace_id FROM turns")}
        except sqlite3.Error as error:
            raise AssertionError(str(error)) from error
        assert wanted <= found
        link = RedisLink(machine.redis.url)
        try:
            return await redis_replication.master_of(link) is not None
        finally:
            await link.aclose()

    await eventually(there, within_s=45)


async def fail_back(primary: Machine, standby: Machine) -> None:
    """The stand-by gives up in order, and the primary takes over with every row."""
    await say(standby, range(60, 80))
    begun = time.monotonic()
    primary.served_at = 0.0
    print(await standby.standby("demote"))
    await primary.shows("hold")
    await serves(primary)
    print(f"fail-back: served again after {primary.served_at - begun:.1f} s")
    await recorded(primary, ids(range(40)) | ids(range(45, 80)))
    assert json.loads(await primary.standby("status", "--json"))["line"] == 3
    await standby.shows("follow")


async def test_the_primary_dies_the_stand_by_serves_and_the_primary_comes_back_to_follow(
    tmp_path: Path,
) -> None:
    async with two_machines(tmp_path) as (primary, standby, _):
        primary.boot()
        standby.boot()
        await primary.shows("hold")
        await say(primary, range(40))
        await recorded(primary, ids(range(40)))
        await replicated(primary)
        await copied(standby, ids(range(40)))

        # Litestream stands still while more is written: these rows exist on the primary alone.
        os.kill(primary.processes["litestream"].pid, signal.SIGSTOP)
        await say(primary, range(40, 45))
        await recorded(primary, ids(range(45)))
        await primary.lose_power()
        died = time.monotonic()
        # What keepalived does when the primary's address is gone; jobs go on arriving meanwhile.
        await standby.standby("promote", "--no-wait")
        await standby.shows("hold")
        held = time.monotonic() - died
        await serves(standby)
        served = standby.served_at - died
        print(f"after the death: lease of {FAST['lease_s']} s taken {held:.1f} s, ", end="")
        print(f"served {served:.1f} s")
        await recorded(standby, ids(range(40)))
        await say(standby, range(45, 60))
        await recorded(standby, ids(range(40)) | ids(range(45, 60)))
        await replicated(standby)

        log = primary.database.with_name("barnabee.db-wal")
        before = primary.database.read_bytes(), log.read_bytes()
        primary.boot()
        await primary.shows("follow")
        assert not (primary.runtime / "serve").exists()

        async def named() -> dict[str, object]:
            status = await primary.status()
            assert status["holder"] == "manofwar"
            assert len(status["set_aside"]) == 1
            assert status["set_aside"][0]["unreplicated"] is not None
            return status

        status = await eventually(named, within_s=45)
        aside = Path(status["set_aside"][0]["folder"])  # type: ignore[index]
        assert status["set_aside"][0]["unreplicated"] == {"turns": sorted(ids(range(40, 45)))}  # type: ignore[index]
        # Not a byte of it was changed by coming back.
        assert (aside / "barnabee.db").read_bytes() == before[0]
        assert (aside / "barnabee.db-wal").read_bytes() == before[1]
        assert "worker" not in primary.processes
        await copied(primary, ids(range(45, 60)))
        print(await primary.standby("status"))

        await fail_back(primary, standby)


async def test_without_the_store_answers_go_on_and_what_is_to_be_kept_waits(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (primary, standby, s3):
        primary.boot()
        standby.boot()
        await primary.shows("hold")
        await say(primary, range(5))
        await recorded(primary, ids(range(5)))
        await replicated(primary)
        standby_worker = standby.processes.get("worker")

        s3.kill()
        lost = time.monotonic()

        async def stopped() -> bool:
            return not primary.socket.exists() and not (primary.runtime / "hold").exists()

        await eventually(stopped, within_s=FAST["lease_s"] + 5)
        # Litestream was gone before anybody else could have thought the lease to be over.
        assert time.monotonic() - lost < FAST["lease_s"]
        with pytest.raises(NotTheHolder):
            fence(str(primary.runtime))()
        await primary.shows("serve")
        assert primary.processes["worker"].poll() is None
        await say(primary, range(5, 15))
        # A promotion comes to nothing: the stand-by cannot read that the lease is over.
        await standby.standby("promote", "--no-wait")
        await asyncio.sleep(FAST["lease_s"] + 2)
        assert not (standby.runtime / "serve").exists()
        assert standby_worker is None
        assert rows(primary) == ids(range(5))
        await standby.standby("demote", "--no-wait")

        s3.start()
        await recorded(primary, ids(range(15)))
        await replicated(primary)
        assert (await primary.status())["line"] == 1


async def test_a_machine_that_stood_still_wakes_up_and_writes_nothing(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (primary, standby, _):
        primary.boot()
        standby.boot()
        await primary.shows("hold")
        await say(primary, range(5))
        await recorded(primary, ids(range(5)))
        await replicated(primary)
        await copied(standby, ids(range(5)))

        # The whole machine stands still, as a VM does, with jobs that its copy has never seen.
        tending = primary._tending
        assert tending
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        for process in primary.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGSTOP)
        await standby.standby("promote", "--no-wait")
        await serves(standby)
        await say(standby, range(10, 15))
        await recorded(standby, ids(range(5)) | ids(range(10, 15)))
        link = RedisLink(primary.redis.url)
        assert await redis_replication.master_of(link) is None
        await link.aclose()
        await say(primary, range(5, 10))

        primary._tending = asyncio.create_task(primary.tend())
        for process in primary.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
        await primary.shows("follow")
        # Not written here, and not lost: handed to the machine that may write.
        await recorded(standby, ids(range(15)))
        status = await primary.status()
        assert status["holder"] == "manofwar"

        async def none_of_its_own() -> bool:
            aside = (await primary.status())["set_aside"]
            return bool(aside) and aside[0]["unreplicated"] == {}

        await eventually(none_of_its_own, within_s=45)


async def test_the_fence_of_a_real_database_is_shut_without_a_permit(tmp_path: Path) -> None:
    path = tmp_path / "barnabee.db"
    database = await open_database(path)
    await Conversations(database).record(make_turn(1))
    await database.close()
    shut = await open_database(path, may_write=fence(str(tmp_path / "nowhere")))
    try:
        assert [turn.trace_id for turn in await Conversations(shut).turns(limit=5)] == list(
            ids(range(1, 2))
        )
        with pytest.raises(NotTheHolder):
            await Conversations(shut).record(make_turn(2))
    finally:
        await shut.close()
    with pytest.raises(NotTheHolder):
        await open_database(tmp_path / "new.db", may_write=fence(str(tmp_path / "nowhere")))
    assert not (tmp_path / "new.db").exists()


async def test_what_is_lost_under_load_is_what_litestream_had_not_sent_yet(tmp_path: Path) -> None:
    """At 20 turns a second: everything older than the stated lag is on the other machine."""
    async with two_machines(tmp_path) as (primary, standby, _):
        primary.boot()
        standby.boot()
        await primary.shows("hold")
        await say(primary, range(1))
        await recorded(primary, ids(range(1)))
        await replicated(primary)
        await copied(standby, ids(range(1)))
        said: dict[str, float] = {}
        queue = Queue(primary.redis.url)
        begun = time.monotonic()
        for number in range(1, 121):
            turn = make_turn(number)
            await queue.enqueue("record_turn", turn.as_dict(), job_id=turn.trace_id)
            said[turn.trace_id] = time.monotonic()
            await asyncio.sleep(max(0.0, begun + number / 20 - time.monotonic()))
        died = time.monotonic()
        await primary.lose_power()
        await queue.aclose()
        await standby.standby("promote", "--no-wait")
        await serves(standby)

        lag_s = primary.system.replica.sync_interval_ms / 1000 + 1.5
        await recorded(standby, {trace for trace, at in said.items() if died - at > lag_s})
        lost = sorted(died - said[trace] for trace in said.keys() - rows(standby))
        oldest = f", the oldest {lost[-1]:.2f} s before the death" if lost else ""
        print(f"{len(lost)} of {len(said)} turns lost{oldest} (stated lag: {lag_s} s)")
