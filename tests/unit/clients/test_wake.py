"""Client of /v1/wake against the real route with a fake engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
import pytest

from barnabee.clients.wake import MAX_BUFFERED_BYTES, WakeClient, make_wake_url, reconnect_delay_s
from barnabee.core.errors import DependencyDown, SettingInvalid
from support.asgi_server import serve_app
from support.fake_engines import FakeWakeWordEngine, JobGate
from support.gpu_app import TOKEN, RunningService, ServiceStarter
from support.wait import eventually, find_free_port, wait_until

QUIET = bytes(2560)


@pytest.fixture
async def start() -> AsyncIterator[ServiceStarter]:
    async with AsyncExitStack() as stack:
        yield ServiceStarter(stack)


def short_delay(_failures: int) -> float:
    return 0.02


async def false_wakes(service: RunningService) -> float:
    text = (await service.client.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("barnabee_false_wake_total")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


async def test_wake_word_is_detected_with_the_chosen_settings(start: ServiceStarter) -> None:
    engine = FakeWakeWordEngine()
    service = await start(wake=lambda: engine)
    async with (
        serve_app(service.running.app, lifespan="off") as url,
        WakeClient(url, TOKEN, room="kitchen", words=("alexa",), threshold_permille=700) as client,
    ):
        client.send_audio(QUIET)
        client.send_audio(engine.make_frame("alexa", 800).tobytes())
        wake = await anext(client)
        assert (wake.word, wake.score) == ("alexa", 0.8)
        assert len(wake.trace_id) == 32
        ready = await client.ready()
        assert (ready["room"], ready["words"], ready["threshold"]) == ("kitchen", ["alexa"], 700)
        client.report_false_wake(wake)

        async def counted() -> bool:
            return await false_wakes(service) == 1

        await eventually(counted)


async def test_client_reconnects_after_a_service_restart(start: ServiceStarter) -> None:
    engine, port = FakeWakeWordEngine(), find_free_port()
    service = await start(wake=lambda: engine)
    word = engine.make_frame("hey_jarvis").tobytes()
    url = f"http://127.0.0.1:{port}"
    async with WakeClient(url, TOKEN, pause_s=short_delay) as client:
        async with serve_app(service.running.app, port, lifespan="off"):
            client.send_audio(word)
            wake = await anext(client)

        async def disconnected() -> bool:
            with pytest.raises(DependencyDown):
                await client.ready()
            return True

        await eventually(disconnected)
        client.report_false_wake(wake)  # sent after the reconnection
        client.send_audio(b"\7")  # half a sample must not shift later audio
        async with serve_app(service.running.app, port, lifespan="off"):
            client.send_audio(b"\0" + QUIET[2:] + word)
            assert (await anext(client)).word == "hey_jarvis"
            assert await false_wakes(service) == 1


async def test_only_the_last_second_is_buffered_without_connection() -> None:
    async with WakeClient(f"http://127.0.0.1:{find_free_port()}", TOKEN) as client:
        for number in range(200):
            client.send_audio(np.full(641, number, np.int16).tobytes()[:1281])
        assert MAX_BUFFERED_BYTES - 2 <= len(client._buffer) <= MAX_BUFFERED_BYTES


async def test_refused_request_is_reported_and_not_retried_at_once(start: ServiceStarter) -> None:
    delays: list[int] = []

    def count(failures: int) -> float:
        delays.append(failures)
        return 0.01

    service = await start()
    async with serve_app(service.running.app, lifespan="off") as url:
        for wake_client, reason in (
            (WakeClient(url, "wrong", pause_s=count), "Authentication"),
            (WakeClient(url, TOKEN, words=("hal",), pause_s=count), "'hal' is not one of"),
        ):
            async with wake_client as client:

                async def refused(client: WakeClient = client, reason: str = reason) -> bool:
                    with pytest.raises(DependencyDown, match=reason):
                        await client.ready()
                    return True

                await eventually(refused)
    assert delays == []


async def test_full_service_is_retried(start: ServiceStarter) -> None:
    engine = FakeWakeWordEngine()
    service = await start(wake=lambda: engine)
    async with serve_app(service.running.app, lifespan="off") as url, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(WakeClient(url, TOKEN)) for _ in range(16)]
        await wait_until(lambda: len(service.capabilities.manager.ledger.leases) == 16)
        late = await stack.enter_async_context(WakeClient(url, TOKEN, pause_s=short_delay))

        async def full() -> bool:
            with pytest.raises(DependencyDown, match="16 streams"):
                await late.ready()
            return True

        await eventually(full)
        await clients[0].__aexit__()
        late.send_audio(engine.make_frame("hey_jarvis").tobytes())
        assert (await anext(late)).word == "hey_jarvis"


async def test_iteration_ends_when_the_client_is_closed() -> None:
    client = WakeClient(f"http://127.0.0.1:{find_free_port()}", TOKEN)
    async with client:
        waiting = asyncio.create_task(anext(client))
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert [wake async for wake in client] == []


async def test_client_survives_invalid_messages() -> None:
    messages_sent = 0

    async def send_invalid(scope: object, receive: object, send: object) -> None:
        nonlocal messages_sent
        await receive()  # type: ignore[operator]
        await send({"type": "websocket.accept"})  # type: ignore[operator]
        await send({"type": "websocket.send", "text": ["{", "[]", "7"][messages_sent % 3]})  # type: ignore[operator]
        messages_sent += 1

    async with (
        serve_app(send_invalid, lifespan="off") as url,
        WakeClient(url, TOKEN, pause_s=short_delay),
    ):
        await wait_until(lambda: messages_sent > 6)


def test_wake_urls() -> None:
    assert make_wake_url("http://h:1/", "", (), None) == "ws://h:1/v1/wake"
    full = make_wake_url("https://h/gpu", "kitchen", ("a", "b"), 650)
    assert full == "wss://h/gpu/v1/wake?room=kitchen&words=a%2Cb&threshold=650"
    for bad in ("h:8001", "ftp://h", "http://"):
        with pytest.raises(SettingInvalid, match="GPU_SERVICE_URL"):
            make_wake_url(bad, "", (), None)


def test_reconnect_delay_grows_to_its_limit() -> None:
    assert all(0.125 <= reconnect_delay_s(1) <= 0.25 for _ in range(20))
    assert all(2.5 <= reconnect_delay_s(10_000) <= 5 for _ in range(20))


async def test_detection_has_the_audio_received_since(start: ServiceStarter) -> None:
    engine = FakeWakeWordEngine(gate=JobGate())
    service = await start(wake=lambda: engine)
    assert engine.gate is not None
    async with (
        serve_app(service.running.app, lifespan="off") as url,
        WakeClient(url, TOKEN) as client,
    ):
        client.send_audio(engine.make_frame("hey_jarvis").tobytes())
        await asyncio.to_thread(engine.gate.reached.wait, 10)
        for _ in range(3):  # while the engine is still busy with the word
            client.send_audio(QUIET)
        await wait_until(lambda: not client._buffer)
        engine.gate.opened.set()
        assert (await anext(client)).ago_ms == 240
