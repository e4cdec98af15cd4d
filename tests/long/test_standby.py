"""Failover to the standby and back, with real processes and an S3 server."""

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
from barnabee.clients.queue import JobQueue
from barnabee.core.errors import DependencyDown, LeaseNotHeld
from barnabee.core.redis_client import RedisClient
from barnabee.standby import replication
from barnabee.store.conversations import Conversations
from barnabee.store.db import open_database
from barnabee.store.fence import make_fence
from support.standby import FAST, StandbyMachine, run_pair
from support.turn_records import make_turn
from support.wait import eventually

pytestmark = pytest.mark.timeout(240)


def ids(numbers: range) -> set[str]:
    return {make_turn(number).trace_id for number in numbers}


def rows(machine: StandbyMachine) -> set[str]:
    """Return the trace ids in a machine's database, read by this process."""
    uri = f"{machine.database.as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return {row[0] for row in connection.execute("SELECT trace_id FROM turns")}
    except sqlite3.Error as error:
        raise AssertionError(str(error)) from error


async def enqueue_turns(machine: StandbyMachine, numbers: range) -> None:
    """Enqueue turns on a machine, as the api does."""
    queue = JobQueue(machine.redis.url)
    try:
        for number in numbers:
            turn = make_turn(number)
            await queue.enqueue("record_turn", turn.as_dict(), job_id=turn.trace_id)
    finally:
        await queue.aclose()


async def wait_until_recorded(machine: StandbyMachine, wanted: set[str]) -> None:
    async def there() -> bool:
        missing = wanted - rows(machine)
        assert not missing, f"{len(missing)} rows are missing on {machine.host}"
        return True

    await eventually(there)


async def wait_until_serving(machine: StandbyMachine) -> None:
    async def started() -> bool:
        return bool(machine.served_at)

    await eventually(started)


async def wait_until_replicated(machine: StandbyMachine) -> None:
    async def no_lag() -> bool:
        try:
            return not (await litestream.measure_lag(machine.socket, machine.database)).transactions
        except DependencyDown as error:
            raise AssertionError(str(error)) from error

    await eventually(no_lag)


async def wait_until_copied(machine: StandbyMachine, wanted: set[str]) -> None:
    """Wait until the follower has the rows, and its Redis is a replica."""

    async def there() -> bool:
        uri = f"{(machine.data / 'standby/copy.db').as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                found = {row[0] for row in connection.execute("SELECT trace_id FROM turns")}
        except sqlite3.Error as error:
            raise AssertionError(str(error)) from error
        assert wanted <= found
        link = RedisClient(machine.redis.url)
        try:
            return await replication.read_redis_master(link) is not None
        finally:
            await link.aclose()

    await eventually(there)


async def fail_back(primary: StandbyMachine, standby: StandbyMachine) -> None:
    """Demote the standby; the primary takes over with every row."""
    await enqueue_turns(standby, range(60, 80))
    started = time.monotonic()
    primary.served_at = 0.0
    print(await standby.standby("demote"))
    await primary.wait_for_role("hold")
    await wait_until_serving(primary)
    print(f"fail-back: served again after {primary.served_at - started:.1f} s")
    await wait_until_recorded(primary, ids(range(40)) | ids(range(45, 80)))
    assert json.loads(await primary.standby("status", "--json"))["line"] == 3
    await standby.wait_for_role("follow")


async def test_the_standby_takes_over_and_the_returning_primary_follows(
    tmp_path: Path,
) -> None:
    async with run_pair(tmp_path) as (primary, standby, _):
        primary.boot()
        standby.boot()
        await primary.wait_for_role("hold")
        await enqueue_turns(primary, range(40))
        await wait_until_recorded(primary, ids(range(40)))
        await wait_until_replicated(primary)
        await wait_until_copied(standby, ids(range(40)))

        # Litestream is stopped while more is written: these rows exist only on the primary.
        os.kill(primary.processes["litestream"].pid, signal.SIGSTOP)
        await enqueue_turns(primary, range(40, 45))
        await wait_until_recorded(primary, ids(range(45)))
        await primary.lose_power()
        died = time.monotonic()
        # As keepalived does when the primary's address disappears.
        await standby.standby("promote", "--no-wait")
        await standby.wait_for_role("hold")
        held = time.monotonic() - died
        await wait_until_serving(standby)
        served = standby.served_at - died
        print(f"after the death: lease of {FAST['lease_s']} s taken {held:.1f} s, ", end="")
        print(f"served {served:.1f} s")
        await wait_until_recorded(standby, ids(range(40)))
        await enqueue_turns(standby, range(45, 60))
        await wait_until_recorded(standby, ids(range(40)) | ids(range(45, 60)))
        await wait_until_replicated(standby)

        log = primary.database.with_name("barnabee.db-wal")
        before = primary.database.read_bytes(), log.read_bytes()
        primary.boot()
        await primary.wait_for_role("follow")
        assert not (primary.runtime / "serve").exists()

        async def named() -> dict[str, object]:
            status = await primary.status()
            assert status["holder"] == "manofwar"
            assert len(status["set_aside"]) == 1
            assert status["set_aside"][0]["unreplicated"] is not None
            return status

        status = await eventually(named)
        aside = Path(status["set_aside"][0]["folder"])  # type: ignore[index]
        assert status["set_aside"][0]["unreplicated"] == {"turns": sorted(ids(range(40, 45)))}  # type: ignore[index]
        # The files set aside are unchanged.
        assert (aside / "barnabee.db").read_bytes() == before[0]
        assert (aside / "barnabee.db-wal").read_bytes() == before[1]
        assert "worker" not in primary.processes
        await wait_until_copied(primary, ids(range(45, 60)))
        print(await primary.standby("status"))

        await fail_back(primary, standby)


async def test_without_the_store_the_primary_serves_and_writes_wait(tmp_path: Path) -> None:
    async with run_pair(tmp_path) as (primary, standby, s3):
        primary.boot()
        standby.boot()
        await primary.wait_for_role("hold")
        await enqueue_turns(primary, range(5))
        await wait_until_recorded(primary, ids(range(5)))
        await wait_until_replicated(primary)
        standby_worker = standby.processes.get("worker")

        s3.kill()
        lost = time.monotonic()

        async def stopped() -> bool:
            return not primary.socket.exists() and not (primary.runtime / "hold").exists()

        await eventually(stopped, within_s=FAST["lease_s"] + 5)
        # Litestream ended before another machine could consider the lease expired.
        assert time.monotonic() - lost < FAST["lease_s"]
        with pytest.raises(LeaseNotHeld):
            make_fence(str(primary.runtime))()
        await primary.wait_for_role("serve")
        assert primary.processes["worker"].poll() is None
        await enqueue_turns(primary, range(5, 15))
        # A promotion has no effect: the standby cannot read that the lease has expired.
        await standby.standby("promote", "--no-wait")
        await asyncio.sleep(FAST["lease_s"] + 2)
        assert not (standby.runtime / "serve").exists()
        assert standby_worker is None
        assert rows(primary) == ids(range(5))
        await standby.standby("demote", "--no-wait")

        s3.start()
        await wait_until_recorded(primary, ids(range(15)))
        await wait_until_replicated(primary)
        assert (await primary.status())["line"] == 1


async def test_a_paused_machine_writes_nothing_when_it_continues(tmp_path: Path) -> None:
    async with run_pair(tmp_path) as (primary, standby, _):
        primary.boot()
        standby.boot()
        await primary.wait_for_role("hold")
        await enqueue_turns(primary, range(5))
        await wait_until_recorded(primary, ids(range(5)))
        await wait_until_replicated(primary)
        await wait_until_copied(standby, ids(range(5)))

        # The whole machine is paused, like a VM, with jobs that its replica does not have.
        tending = primary._supervision
        assert tending
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        for process in primary.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGSTOP)
        await standby.standby("promote", "--no-wait")
        await wait_until_serving(standby)
        await enqueue_turns(standby, range(10, 15))
        await wait_until_recorded(standby, ids(range(5)) | ids(range(10, 15)))
        link = RedisClient(primary.redis.url)
        assert await replication.read_redis_master(link) is None
        await link.aclose()
        await enqueue_turns(primary, range(5, 10))

        primary._supervision = asyncio.create_task(primary.supervise())
        for process in primary.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
        await primary.wait_for_role("follow")
        # The jobs are handed over to the machine that may write.
        await wait_until_recorded(standby, ids(range(15)))
        status = await primary.status()
        assert status["holder"] == "manofwar"

        async def nothing_unreplicated() -> bool:
            aside = (await primary.status())["set_aside"]
            return bool(aside) and aside[0]["unreplicated"] == {}

        await eventually(nothing_unreplicated)


async def test_a_database_cannot_be_written_without_a_permit(tmp_path: Path) -> None:
    path = tmp_path / "barnabee.db"
    database = await open_database(path)
    await Conversations(database).record(make_turn(1))
    await database.close()
    shut = await open_database(path, check_fence=make_fence(str(tmp_path / "nowhere")))
    try:
        assert [turn.trace_id for turn in await Conversations(shut).list_turns(limit=5)] == list(
            ids(range(1, 2))
        )
        with pytest.raises(LeaseNotHeld):
            await Conversations(shut).record(make_turn(2))
    finally:
        await shut.close()
    with pytest.raises(LeaseNotHeld):
        await open_database(tmp_path / "new.db", check_fence=make_fence(str(tmp_path / "nowhere")))
    assert not (tmp_path / "new.db").exists()


async def test_a_failover_under_load_loses_only_unreplicated_turns(tmp_path: Path) -> None:
    """At 20 turns per second, all turns older than the documented lag are on the standby."""
    async with run_pair(tmp_path) as (primary, standby, _):
        primary.boot()
        standby.boot()
        await primary.wait_for_role("hold")
        await enqueue_turns(primary, range(1))
        await wait_until_recorded(primary, ids(range(1)))
        await wait_until_replicated(primary)
        await wait_until_copied(standby, ids(range(1)))
        enqueued: dict[str, float] = {}
        queue = JobQueue(primary.redis.url)
        started = time.monotonic()
        for number in range(1, 121):
            turn = make_turn(number)
            await queue.enqueue("record_turn", turn.as_dict(), job_id=turn.trace_id)
            enqueued[turn.trace_id] = time.monotonic()
            await asyncio.sleep(max(0.0, started + number / 20 - time.monotonic()))
        died = time.monotonic()
        await primary.lose_power()
        await queue.aclose()
        await standby.standby("promote", "--no-wait")
        await wait_until_serving(standby)

        lag_s = primary.system.replica.sync_interval_ms / 1000 + 1.5
        await wait_until_recorded(
            standby, {trace for trace, at in enqueued.items() if died - at > lag_s}
        )
        lost = sorted(died - enqueued[trace] for trace in enqueued.keys() - rows(standby))
        oldest = f", the oldest {lost[-1]:.2f} s before the death" if lost else ""
        print(f"{len(lost)} of {len(enqueued)} turns lost{oldest} (stated lag: {lag_s} s)")
