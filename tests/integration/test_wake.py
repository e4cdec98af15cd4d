"""Wake word detection in the real service with the real models."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from barnabee.clients.wake import WakeClient
from barnabee.core.errors import DependencyDown
from support.gpu import TOKEN, GpuProcess, find_models_dir, run_wake_service
from support.wait import LAST_RESORT_S, eventually, wait_until
from support.wake_stream import (
    expect_refusal,
    load_padded_recording,
    open_wake_stream,
    split_audio,
)

CALL = Path(__file__).parents[1] / "audio" / "wake" / "hey_jarvis_af_heart.wav"
QUESTION = Path(__file__).parents[1] / "audio" / "what_time_af_heart.wav"
ROOMS = 8


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuProcess]:
    with run_wake_service(tmp_path_factory.mktemp("wake")) as service:
        yield service


async def test_the_wake_word_is_detected_in_speech_and_a_question_is_not(gpu: GpuProcess) -> None:
    async with open_wake_stream(gpu.url, TOKEN, room="kitchen") as link:
        for path in (QUESTION, CALL):
            audio = load_padded_recording(path)
            await link.send_audio(*split_audio(audio, 1000))
        detection = await link.receive()
        began_ms = len(load_padded_recording(QUESTION)) / 32 + 1500
        assert detection["word"] == "hey_jarvis"
        assert began_ms + 300 < detection["at_ms"] < began_ms + 1700
    lines = [line for line in gpu.log() if line["event"] == "wake"]
    assert lines[-1]["trace_id"] == detection["trace_id"]


async def test_concurrent_rooms_get_their_own_detections(gpu: GpuProcess) -> None:
    audio = load_padded_recording(CALL)
    async with AsyncExitStack() as stack:
        links = [
            await stack.enter_async_context(open_wake_stream(gpu.url, TOKEN, room=f"room{number}"))
            for number in range(ROOMS)
        ]
        for link in links[::2]:
            await link.send_audio(*split_audio(audio, 6400))
        for link in links[1::2]:
            await link.send_audio(bytes(40_000), bytes(40_000))
        detections = [await link.receive() for link in links[::2]]
        assert {detection["word"] for detection in detections} == {"hey_jarvis"}
        assert len({detection["at_ms"] for detection in detections}) == 1
        assert gpu.read_metric("barnabee_wake_streams") == ROOMS
        for link in links[1::2]:
            await link.send_message(type="nonsense")
            assert (await link.receive())["type"] == "error"  # and no wake before it


async def test_the_client_reconnects_after_the_service_was_killed(
    tmp_path: Path,
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "openwakeword").symlink_to(find_models_dir() / "openwakeword")
    service = GpuProcess(tmp_path, tmp_path / "models").start()
    service.wait_for("/health/live")
    audio = load_padded_recording(CALL)
    try:
        async with WakeClient(service.url, TOKEN, room="kitchen") as client:

            async def speak_until_detected() -> str:
                detection = asyncio.ensure_future(anext(client))
                deadline = time.monotonic() + LAST_RESORT_S
                while not detection.done():
                    # the client drops audio while the service does not keep up
                    assert time.monotonic() < deadline
                    for piece in split_audio(audio, 2560):
                        client.send_audio(piece)
                        await asyncio.sleep(0.02)  # four times real time
                return (await detection).word

            assert await speak_until_detected() == "hey_jarvis"
            assert service.process is not None
            service.process.kill()
            service.process.wait()

            async def is_disconnected() -> bool:
                try:
                    await client.ready()
                except DependencyDown:
                    return True
                return False

            await eventually(is_disconnected)
            service.start()

            async def is_connected() -> bool:
                return not await is_disconnected()

            await eventually(is_connected)
            assert await speak_until_detected() == "hey_jarvis"
    finally:
        service.stop()


async def test_a_shutdown_closes_open_streams(
    tmp_path: Path,
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "openwakeword").symlink_to(find_models_dir() / "openwakeword")
    service = GpuProcess(tmp_path, tmp_path / "models").start()
    service.wait_for("/health/live")
    async with (
        open_wake_stream(service.url, TOKEN) as idle,
        open_wake_stream(service.url, TOKEN) as busy,
    ):
        await busy.send_audio(bytes(64_000))
        ending = asyncio.create_task(asyncio.to_thread(service.stop))
        assert await idle.receive_until_closed() == ([], 1001)
        assert await busy.receive_until_closed() == ([], 1001)
        status, _ = await ending
    assert status == 0
    assert not [
        line
        for line in service.log()
        if line.get("level") == "error" and line["event"] != "model failed"
    ]


async def test_a_wrong_token_is_refused_with_the_reason(gpu: GpuProcess) -> None:
    status, body = await expect_refusal(gpu.url, "wrong")
    assert (status, body["code"]) == (401, "unauthorized")
    assert "Authorization: Bearer" in body["message"]


async def test_a_message_over_the_size_limit_closes_the_stream(gpu: GpuProcess) -> None:
    async with open_wake_stream(gpu.url, TOKEN) as link:
        with suppress(ConnectionClosed):  # it may end the connection before all is sent
            await link.send_audio(bytes(2 * 1024 * 1024))
        assert (await link.receive_until_closed())[1] == 1009


async def test_invalid_websocket_frames_leave_the_service_healthy(gpu: GpuProcess) -> None:
    """Broken frames, reserved bits, missing masks, partial handshakes, disconnects."""
    rng = np.random.default_rng(11)
    port = int(gpu.url.rsplit(":", 1)[1])
    handshake = (
        f"GET /v1/wake HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()

    def send_invalid_frames() -> None:
        for number in range(60):
            with socket.create_connection(("127.0.0.1", port), timeout=120) as raw:
                raw.settimeout(60)
                raw.sendall(handshake[: len(handshake) - (number % 4) * 20])
                if number % 4 == 0:
                    raw.recv(4096)
                try:
                    raw.sendall(rng.bytes(int(rng.integers(1, 5000))))
                except OSError:
                    continue

    await asyncio.to_thread(send_invalid_frames)
    with gpu.client() as client:
        assert client.get("/health/live").status_code == 200
    await wait_until(lambda: gpu.read_metric("barnabee_wake_streams") == 0)
    async with open_wake_stream(gpu.url, TOKEN) as link:
        await link.send_audio(*split_audio(load_padded_recording(CALL), 32_000))
        assert (await link.receive())["type"] == "wake"
