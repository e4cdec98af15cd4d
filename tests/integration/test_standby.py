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

from barnabee.clients.queue import Queue
from barnabee.core.errors import DependencyDown, NotTheHolder
from barnabee.core.redis_link import RedisLink
from barnabee.standby import redises
from barnabee.store import litestream
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
            return await redises.master_of(link) is not None
        finally:
            await link.aclose()

    await eventually(there, within_s=45)


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

        async def serves() -> bool:
            return bool(standby.served_at)

        await eventually(serves, within_s=30)
        print(f"lease taken {held:.1f} s after the death, serving after ", end="")
        print(f"{standby.served_at - died:.1f} s (lease {FAST['lease_s']} s)")
        await recorded(standby, ids(range(40)))
        await say(standby, range(45, 60))
        await recorded(standby, ids(range(40)) | ids(range(45, 60)))
        await replicated(standby)

        before = primary.database.read_bytes(), primary.database.with_name("barnabee.db-wal").read_bytes()
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

        # Fail-back: the stand-by gives up in order, the primary takes over with every row.
        await say(standby, range(60, 80))
        begun = time.monotonic()
        primary.served_at = 0.0
        print(await standby.standby("demote"))
        await primary.shows("hold")

        async def back() -> bool:
            return bool(primary.served_at)

        await eventually(back, within_s=30)
        print(f"fail-back: served again after {primary.served_at - begun:.1f} s")
        await recorded(primary, ids(range(40)) | ids(range(45, 80)))
        assert json.loads(await primary.standby("status", "--json"))["line"] == 3
        await standby.shows("follow")
