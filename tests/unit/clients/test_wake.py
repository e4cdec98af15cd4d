"""The client of /v1/wake against the real route, with an engine that the tests control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
import pytest

from barnabee.clients.wake import KEPT_BYTES, WakeClient, pause, wake_url
from barnabee.core.errors import DependencyDown, SettingInvalid
from barnabee.testing.engines import FakeWakeWords, Gate
from support.gpu_app import TOKEN, Service, Starter
from support.serve import served
from support.wait import eventually, free_port, until

QUIET = bytes(2560)


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    async with AsyncExitStack() as stack:
        yield Starter(stack)


def at_once(_failures: int) -> float:
    return 0.02


async def false_wakes(service: Service) -> float:
    text = (await service.client.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("barnabee_false_wake_total")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


async def test_it_hears_and_says_what_it_listens_for(start: Starter) -> None:
    engine = FakeWakeWords()
    service = await start(wake=lambda: engine)
    async with (
        served(service.running.app, lifespan="off") as url,
        WakeClient(url, TOKEN, room="kitchen", words=("alexa",), threshold_permille=700) as ear,
    ):
        ear.hear(QUIET)
        ear.hear(engine.saying("alexa", 800).tobytes())
        wake = await anext(ear)
        assert (wake.word, wake.score) == ("alexa", 0.8)
        assert len(wake.trace_id) == 32
        ready = await ear.ready()
        assert (ready["room"], ready["words"], ready["threshold"]) == ("kitchen", ["alexa"], 700)
        ear.false_wake(wake)

        async def counted() -> bool:
            return await false_wakes(service) == 1

        await eventually(counted, within_s=5)


async def test_it_comes_back_after_the_service_was_away(start: Starter) -> None:
    engine, port = FakeWakeWords(), free_port()
    service = await start(wake=lambda: engine)
    word = engine.saying("hey_jarvis").tobytes()
    url = f"http://127.0.0.1:{port}"
    async with WakeClient(url, TOKEN, pause_s=at_once) as ear:
        async with served(service.running.app, port, lifespan="off"):
            ear.hear(word)
            wake = await anext(ear)

        async def away() -> bool:
            with pytest.raises(DependencyDown):
                await ear.ready()
            return True

        await eventually(away, within_s=5)
        ear.false_wake(wake)  # is said when the link is back
        ear.hear(b"\7")  # half a sample must not shift what comes later
        async with served(service.running.app, port, lifespan="off"):
            ear.hear(b"\0" + QUIET[2:] + word)
            assert (await anext(ear)).word == "hey_jarvis"
            assert await false_wakes(service) == 1


async def test_while_it_is_away_only_the_last_second_is_kept() -> None:
    async with WakeClient(f"http://127.0.0.1:{free_port()}", TOKEN) as ear:
        for number in range(200):
            ear.hear(np.full(641, number, np.int16).tobytes()[:1281])
        assert KEPT_BYTES - 2 <= len(ear._sound) <= KEPT_BYTES


async def test_what_is_refused_is_said_and_not_asked_again_at_once(start: Starter) -> None:
    asked: list[int] = []

    def count(failures: int) -> float:
        asked.append(failures)
        return 0.01

    service = await start()
    async with served(service.running.app, lifespan="off") as url:
        for client, said in (
            (WakeClient(url, "wrong", pause_s=count), "token"),
            (WakeClient(url, TOKEN, words=("hal",), pause_s=count), "'hal' is not one of"),
        ):
            async with client as ear:

                async def refused(ear: WakeClient = ear, said: str = said) -> bool:
                    with pytest.raises(DependencyDown, match=said):
                        await ear.ready()
                    return True

                await eventually(refused, within_s=5)
    assert asked == []


async def test_a_service_that_is_full_is_tried_again(start: Starter) -> None:
    engine = FakeWakeWords()
    service = await start(wake=lambda: engine)
    async with served(service.running.app, lifespan="off") as url, AsyncExitStack() as stack:
        ears = [await stack.enter_async_context(WakeClient(url, TOKEN)) for _ in range(16)]
        await until(lambda: len(service.tasks.manager.ledger.leases) == 16)
        late = await stack.enter_async_context(WakeClient(url, TOKEN, pause_s=at_once))

        async def full() -> bool:
            with pytest.raises(DependencyDown, match="16 streams"):
                await late.ready()
            return True

        await eventually(full, within_s=5)
        await ears[0].__aexit__()
        late.hear(engine.saying("hey_jarvis").tobytes())
        assert (await anext(late)).word == "hey_jarvis"


async def test_iterating_ends_when_it_is_closed() -> None:
    ear = WakeClient(f"http://127.0.0.1:{free_port()}", TOKEN)
    async with ear:
        waiting = asyncio.create_task(anext(ear))
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert [wake async for wake in ear] == []


async def test_a_server_that_talks_nonsense_is_no_reason_to_die() -> None:
    talked = 0

    async def nonsense(scope: object, receive: object, send: object) -> None:
        nonlocal talked
        await receive()  # type: ignore[operator]
        await send({"type": "websocket.accept"})  # type: ignore[operator]
        await send({"type": "websocket.send", "text": ["{", "[]", "7"][talked % 3]})  # type: ignore[operator]
        talked += 1

    async with served(nonsense, lifespan="off") as url, WakeClient(url, TOKEN, pause_s=at_once):
        await until(lambda: talked > 6)


def test_addresses() -> None:
    assert wake_url("http://h:1/", "", (), None) == "ws://h:1/v1/wake"
    full = wake_url("https://h/gpu", "kitchen", ("a", "b"), 650)
    assert full == "wss://h/gpu/v1/wake?room=kitchen&words=a%2Cb&threshold=650"
    for bad in ("h:8001", "ftp://h", "http://"):
        with pytest.raises(SettingInvalid, match="GPU_SERVICE_URL"):
            wake_url(bad, "", (), None)


def test_pauses_grow_to_a_limit() -> None:
    assert all(0.125 <= pause(1) <= 0.25 for _ in range(20))
    assert all(2.5 <= pause(10_000) <= 5 for _ in range(20))


async def test_how_much_sound_came_after_the_word_is_told_with_it(start: Starter) -> None:
    engine = FakeWakeWords(gate=Gate())
    service = await start(wake=lambda: engine)
    assert engine.gate is not None
    async with served(service.running.app, lifespan="off") as url, WakeClient(url, TOKEN) as ear:
        ear.hear(engine.saying("hey_jarvis").tobytes())
        await asyncio.to_thread(engine.gate.reached.wait, 10)
        for _ in range(3):  # while the word is still being looked at
            ear.hear(QUIET)
        await until(lambda: not ear._sound)
        engine.gate.opened.set()
        assert (await anext(ear)).ago_ms == 240
