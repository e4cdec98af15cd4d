"""Wake word detection in the real service with the real models."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest

from barnabee.audio import wav
from barnabee.audio.samples import to_pcm16
from barnabee.clients.wake import WakeClient
from barnabee.core.errors import DependencyDown
from support.gpu import TOKEN, GpuProcess, find_models_dir
from support.wait import LAST_RESORT_S, eventually, wait_until
from support.wake_stream import expect_refusal, open_wake_stream

CALL = Path(__file__).parents[1] / "audio" / "wake" / "hey_jarvis_af_heart.wav"
QUESTION = Path(__file__).parents[1] / "audio" / "what_time_af_heart.wav"
ROOMS = 8
FRAMES = "barnabee_wake_frame_seconds"


def load_padded_recording(path: Path) -> bytes:
    audio = to_pcm16(wav.decode(wav.parse(path.read_bytes(), max_s=60), 16_000))
    return bytes(48_000) + audio + bytes(48_000)


def split(audio: bytes, size: int) -> Iterator[bytes]:
    return (audio[at : at + size] for at in range(0, len(audio), size))


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuProcess]:
    """Yield the service with the wake word models only, which load faster."""
    folder = tmp_path_factory.mktemp("wake")
    (folder / "models").mkdir()
    (folder / "models" / "openwakeword").symlink_to(find_models_dir() / "openwakeword")
    service = GpuProcess(folder, folder / "models").start()
    try:
        service.wait_for("/health/live")
        yield service
    finally:
        service.stop()


def metric(gpu: GpuProcess, name: str) -> float:
    with gpu.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


async def test_the_wake_word_is_detected_in_speech_and_a_question_is_not(gpu: GpuProcess) -> None:
    async with open_wake_stream(gpu.url, TOKEN, room="kitchen") as link:
        for path in (QUESTION, CALL):
            audio = load_padded_recording(path)
            await link.send_audio(*split(audio, 1000))
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
            await link.send_audio(*split(audio, 6400))
        for link in links[1::2]:
            await link.send_audio(bytes(40_000), bytes(40_000))
        detections = [await link.receive() for link in links[::2]]
        assert {detection["word"] for detection in detections} == {"hey_jarvis"}
        assert len({detection["at_ms"] for detection in detections}) == 1
        assert metric(gpu, "barnabee_wake_streams") == ROOMS
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

            async def speak_wake_word() -> str:
                for piece in split(audio, 2560):
                    client.send_audio(piece)
                    await asyncio.sleep(0.02)  # four times real time
                return (await asyncio.wait_for(anext(client), LAST_RESORT_S)).word

            assert await speak_wake_word() == "hey_jarvis"
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
            assert await speak_wake_word() == "hey_jarvis"
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
            with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
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
    await wait_until(lambda: metric(gpu, "barnabee_wake_streams") == 0)
    async with open_wake_stream(gpu.url, TOKEN) as link:
        await link.send_audio(*split(load_padded_recording(CALL), 32_000))
        assert (await link.receive())["type"] == "wake"


@pytest.mark.alone
async def test_many_streams_do_not_grow_the_memory(gpu: GpuProcess) -> None:
    audio = load_padded_recording(CALL) * 4
    assert gpu.process is not None
    process = psutil.Process(gpu.process.pid)

    async def open_streams(streams: int) -> None:
        for _ in range(streams):
            async with open_wake_stream(gpu.url, TOKEN) as link:
                await link.send_audio(*split(audio, 32_000))
                await link.receive()

    await open_streams(5)
    before = process.memory_info().rss
    await open_streams(40)
    grown = (process.memory_info().rss - before) / 2**20
    print(f"grown by {grown:.1f} MiB over 40 streams")
    assert grown < 8


@pytest.mark.bench
async def test_cpu_time_of_a_room(gpu: GpuProcess) -> None:
    """One minute of audio, as fast as possible, on one stream and on eight."""
    assert gpu.process is not None
    process = psutil.Process(gpu.process.pid)
    minute = np.random.default_rng(0).integers(-2000, 2000, 60 * 16_000, np.int16).tobytes()

    async def listen() -> None:
        async with open_wake_stream(gpu.url, TOKEN, threshold=1000) as link:
            await link.send_audio(*split(minute, 2560))
            await link.send_message(type="end")
            await link.receive_until_closed()

    for rooms in (1, 8):
        used, begun = process.cpu_times(), time.perf_counter()
        frames, seconds = (metric(gpu, f"{FRAMES}_{kind}") for kind in ("count", "sum"))
        async with asyncio.TaskGroup() as group:
            for _ in range(rooms):
                group.create_task(listen())
        wall_s, now = time.perf_counter() - begun, process.cpu_times()
        count = metric(gpu, f"{FRAMES}_count") - frames
        mean_ms = (metric(gpu, f"{FRAMES}_sum") - seconds) / count * 1000
        cpu_ms = (now.user + now.system - used.user - used.system) / count * 1000
        print(f"{rooms} rooms: {count:.0f} frames in {wall_s:.1f} s; scores after {mean_ms:.2f} ms")
        print(f"{cpu_ms:.2f} ms of CPU time per frame: {80 / cpu_ms:.0f} rooms per core")
        assert cpu_ms < 8  # ten rooms per core
