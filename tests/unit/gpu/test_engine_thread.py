from __future__ import annotations

import asyncio
import threading

import pytest

from barnabee.core.errors import DependencyDown, InvalidAudio, Overloaded
from barnabee.gpu.engine_thread import Lane
from barnabee.testing.engines import Gate


async def test_jobs_run_in_order_one_at_a_time_and_not_on_the_loops_thread() -> None:
    lane, seen, running = Lane("x"), [], []

    def job(number: int) -> None:
        running.append(number)
        assert len(running) == 1
        seen.append((number, threading.current_thread().name))
        running.remove(number)

    await asyncio.gather(*(lane.run(lambda n=n: job(n)) for n in range(20)))
    assert seen == [(n, "lane-x") for n in range(20)]


async def test_waiting_and_running_are_timed_apart() -> None:
    lane, gate = Lane("x"), Gate()
    first = asyncio.create_task(lane.run(gate.passed))
    await asyncio.to_thread(gate.reached.wait)
    second = asyncio.create_task(lane.run(lambda: "done"))
    await asyncio.sleep(0)
    gate.opened.set()
    blocked, waited = await first, await second
    assert waited.value == "done"
    assert blocked.took_s >= waited.took_s
    assert waited.waited_s > 0


async def test_what_an_engine_raises_gets_a_code_and_ours_passes_through() -> None:
    lane = Lane("kokoro")

    def broken() -> None:
        raise ZeroDivisionError("inside the library")

    def refusing() -> None:
        raise InvalidAudio(reason="no")

    with pytest.raises(DependencyDown, match=r"kokoro does not answer .*inside the library"):
        await lane.run(broken)
    with pytest.raises(InvalidAudio):
        await lane.run(refusing)
    assert (await lane.run(lambda: 7)).value == 7


async def test_too_many_waiting_are_refused_at_once() -> None:
    lane, gate = Lane("x", max_waiting=2), Gate()
    running = asyncio.create_task(lane.run(gate.passed))
    waiting = asyncio.create_task(lane.run(lambda: 1))
    await asyncio.to_thread(gate.reached.wait)
    with pytest.raises(Overloaded) as refused:
        await lane.run(lambda: 2)
    assert refused.value.retry_after_s == 1
    gate.opened.set()
    await running
    assert (await waiting).value == 1
    assert (await lane.run(lambda: 3)).value == 3


async def test_who_gives_up_waiting_is_never_run() -> None:
    lane, gate, ran = Lane("x"), Gate(), []
    running = asyncio.create_task(lane.run(gate.passed))
    await asyncio.to_thread(gate.reached.wait)
    waiting = asyncio.create_task(lane.run(lambda: ran.append("never")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.opened.set()
    await running
    await lane.run(lambda: ran.append("next"))
    assert ran == ["next"]


async def test_busy_only_while_a_job_runs() -> None:
    lane, gate = Lane("x"), Gate()
    assert not lane.busy
    running = asyncio.create_task(lane.run(gate.passed))
    await asyncio.to_thread(gate.reached.wait)
    assert lane.busy
    assert not lane.wait_idle(0.01)
    gate.opened.set()
    await running
    assert lane.wait_idle(5)
