"""Fast senders, clients that do not read, and random messages on /v1/wake."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from barnabee.gpu.routes import wake as route
from support.fake_engines import FakeWakeWordEngine, JobGate
from support.gpu_app import TOKEN, ServiceStarter
from support.wait import wait_until
from support.wake_stream import WakeConnection, serve_wake_words


async def test_fast_sender_is_held_back_without_buffering(
    start: ServiceStarter,
) -> None:
    engine = FakeWakeWordEngine(gate=JobGate())
    assert engine.gate is not None
    async with serve_wake_words(start, engine) as server, server.open_stream() as link:
        server.service.capabilities.wake.preferred.inference_limit_s = 60
        sent, most = 0, 16 * 1024 * 1024  # both sides' socket buffers, and a message of two seconds
        with suppress(TimeoutError):
            while sent < most:
                async with asyncio.timeout(0.5):
                    await link.send_audio(bytes(64_000))
                sent += 64_000
        assert sent < most
        assert engine.frame_count == 0
        engine.gate.opened.set()
        await wait_until(lambda: engine.frame_count >= sent // 2560)  # nothing was lost


async def test_client_that_never_reads_is_disconnected(
    start: ServiceStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "SEND_TIMEOUT_S", 0.05)
    engine = FakeWakeWordEngine()
    service = await start(wake=lambda: engine)
    messages = iter([{"type": "websocket.connect"}])
    sound = {"type": "websocket.receive", "bytes": engine.make_frame("hey_jarvis").tobytes()}
    sent: list[str] = []

    async def receive() -> dict[str, object]:
        return next(messages, sound)

    async def send(message: dict[str, object]) -> None:
        sent.append(str(message["type"]))
        if len(sent) > 2:  # accepted, ready, and then nothing gets through any more
            await asyncio.Event().wait()

    scope = {
        "type": "websocket",
        "path": "/v1/wake",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {TOKEN}".encode())],
        "subprotocols": [],
    }
    async with asyncio.timeout(60):
        await service.running.app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[:2] == ["websocket.accept", "websocket.send"]
    await wait_until(lambda: not service.capabilities.manager.ledger.leases)


async def test_random_messages_do_not_affect_the_service(start: ServiceStarter) -> None:
    rng = np.random.default_rng(7)

    async def fuzz(link: WakeConnection) -> None:
        for _ in range(rng.integers(1, 30)):
            noise = rng.bytes(int(rng.integers(0, 9000)))
            if rng.random() < 0.1:
                await link.socket.send(noise.decode("latin-1"))
            else:
                await link.socket.send(noise)

    async with serve_wake_words(start) as server:
        for _ in range(30):
            try:
                async with server.open_stream(words="alexa,hey_jarvis", threshold=1000) as link:
                    await fuzz(link)
            except ConnectionClosed:
                continue
        await wait_until(lambda: not server.service.capabilities.manager.ledger.leases)
        async with server.open_stream() as link:
            await link.send_audio(server.engine.make_frame("hey_jarvis"))
            assert (await link.receive())["type"] == "wake"
