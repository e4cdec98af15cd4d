"""Wake words in the real service: a real process, real models, real sockets."""

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
from support.gpu import TOKEN, GpuProcess, models_dir
from support.wait import until
from support.wake_stream import expect_refusal, open_wake_stream

CALL = Path(__file__).parents[1] / "audio" / "wake" / "hey_jarvis_af_heart.wav"
QUESTION = Path(__file__).parents[1] / "audio" / "what_time_af_heart.wav"
ROOMS = 8
FRAMES = "barnabee_wake_frame_seconds"


def recording(path: Path) -> bytes:
    sound = to_pcm16(wav.decode(wav.parse(path.read_bytes(), max_s=60), 16_000))
    return bytes(48_000) + sound + bytes(48_000)


def pieces(sound: bytes, size: int) -> Iterator[bytes]:
    return (sound[at : at + size] for at in range(0, len(sound), size))


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuProcess]:
    """Return the service with the wake word's model alone: the others would only cost time."""
    folder = tmp_path_factory.mktemp("wake")
    (folder / "models").mkdir()
    (folder / "models" / "openwakeword").symlink_to(models_dir() / "openwakeword")
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


async def test_a_spoken_call_wakes_and_a_question_does_not(gpu: GpuProcess) -> None:
    async with open_wake_stream(gpu.url, TOKEN, room="kitchen") as link:
        for path in (QUESTION, CALL):
            sound = recording(path)
            await link.send_audio(*pieces(sound, 1000))
        woken = await link.receive()
        began_ms = len(recording(QUESTION)) / 32 + 1500
        assert woken["word"] == "hey_jarvis"
        assert began_ms + 300 < woken["at_ms"] < began_ms + 1700
    lines = [line for line in gpu.log() if line["event"] == "wake"]
    assert lines[-1]["trace_id"] == woken["trace_id"]


async def test_many_rooms_at_once_each_hear_their_own(gpu: GpuProcess) -> None:
    sound = recording(CALL)
    async with AsyncExitStack() as stack:
        links = [
            await stack.enter_async_context(open_wake_stream(gpu.url, TOKEN, room=f"room{number}"))
            for number in range(ROOMS)
        ]
        for link in links[::2]:
            await link.send_audio(*pieces(sound, 6400))
        for link in links[1::2]:
            await link.send_audio(bytes(40_000), bytes(40_000))
        woken = [await link.receive() for link in links[::2]]
        assert {one["word"] for one in woken} == {"hey_jarvis"}
        assert len({one["at_ms"] for one in woken}) == 1
        assert metric(gpu, "barnabee_wake_streams") == ROOMS
        for link in links[1::2]:
            await link.send_message(type="nonsense")
            assert (await link.receive())["type"] == "error"  # and no wake before it


async def test_the_client_gets_its_wakes_and_comes_back_after_the_service_was_killed(
    tmp_path: Path,
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "openwakeword").symlink_to(models_dir() / "openwakeword")
    service = GpuProcess(tmp_path, tmp_path / "models").start()
    service.wait_for("/health/live")
    sound = recording(CALL)
    try:
        async with WakeClient(service.url, TOKEN, room="kitchen") as ear:

            async def call() -> str:
                for piece in pieces(sound, 2560):
                    ear.send_audio(piece)
                    await asyncio.sleep(0.02)  # a microphone, if four times as fast
                return (await asyncio.wait_for(anext(ear), 20)).word

            assert await call() == "hey_jarvis"
            assert service.process is not None
            service.process.kill()
            service.process.wait()

            async def is_away() -> bool:
                try:
                    await ear.ready()
                except DependencyDown:
                    return True
                return False

            await _eventually(is_away)
            service.start()

            async def is_back() -> bool:
                return not await is_away()

            await _eventually(is_back)
            assert await call() == "hey_jarvis"
    finally:
        service.stop()


async def _eventually(question) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    deadline = time.monotonic() + 30
    while not await question():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_open_streams_are_told_that_the_service_ends_and_it_ends_in_time(
    tmp_path: Path,
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "openwakeword").symlink_to(models_dir() / "openwakeword")
    service = GpuProcess(tmp_path, tmp_path / "models").start()
    service.wait_for("/health/live")
    async with open_wake_stream(service.url, TOKEN) as idle, open_wake_stream(service.url, TOKEN) as busy:
        await busy.send_audio(bytes(64_000))
        ending = asyncio.create_task(asyncio.to_thread(service.stop))
        assert await idle.receive_until_closed() == ([], 1001)
        assert await busy.receive_until_closed() == ([], 1001)
        status, seconds = await ending
    assert (status, seconds < 4) == (0, True), seconds
    assert not [
        line
        for line in service.log()
        if line.get("level") == "error" and line["event"] != "model failed"
    ]


async def test_without_the_token_the_reason_is_in_the_answer(gpu: GpuProcess) -> None:
    status, body = await expect_refusal(gpu.url, "wrong")
    assert (status, body["code"]) == (401, "unauthorized")
    assert "Authorization: Bearer" in body["message"]


async def test_a_message_that_no_route_would_take_is_not_even_read(gpu: GpuProcess) -> None:
    async with open_wake_stream(gpu.url, TOKEN) as link:
        await link.send_audio(bytes(2 * 1024 * 1024))
        assert (await link.receive_until_closed())[1] == 1009


async def test_raw_nonsense_on_the_socket_never_hurts_the_service(gpu: GpuProcess) -> None:
    """Broken frames, reserved bits, masks left out, half a handshake, a hung up phone."""
    rng = np.random.default_rng(11)
    port = int(gpu.url.rsplit(":", 1)[1])
    handshake = (
        f"GET /v1/wake HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()

    def attack() -> None:
        for turn in range(60):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
                raw.settimeout(5)
                raw.sendall(handshake[: len(handshake) - (turn % 4) * 20])
                if turn % 4 == 0:
                    raw.recv(4096)
                try:
                    raw.sendall(rng.bytes(int(rng.integers(1, 5000))))
                except OSError:
                    continue

    await asyncio.to_thread(attack)
    with gpu.client() as client:
        assert client.get("/health/live").status_code == 200
    await until(lambda: metric(gpu, "barnabee_wake_streams") == 0, within_s=40)
    async with open_wake_stream(gpu.url, TOKEN) as link:
        await link.send_audio(*pieces(recording(CALL), 32_000))
        assert (await link.receive())["type"] == "wake"


@pytest.mark.alone
async def test_hours_of_sound_and_many_streams_leave_no_memory_behind(gpu: GpuProcess) -> None:
    sound = recording(CALL) * 4
    assert gpu.process is not None
    process = psutil.Process(gpu.process.pid)

    async def evening(streams: int) -> None:
        for _ in range(streams):
            async with open_wake_stream(gpu.url, TOKEN) as link:
                await link.send_audio(*pieces(sound, 32_000))
                await link.receive()

    await evening(5)
    before = process.memory_info().rss
    await evening(40)
    grown = (process.memory_info().rss - before) / 2**20
    print(f"grown by {grown:.1f} MiB over 40 streams")
    assert grown < 8


@pytest.mark.bench
async def test_what_a_room_costs(gpu: GpuProcess) -> None:
    """One minute of sound, as fast as it is taken, on one link and on eight."""
    assert gpu.process is not None
    process = psutil.Process(gpu.process.pid)
    minute = np.random.default_rng(0).integers(-2000, 2000, 60 * 16_000, np.int16).tobytes()

    async def listen() -> None:
        async with open_wake_stream(gpu.url, TOKEN, threshold=1000) as link:
            await link.send_audio(*pieces(minute, 2560))
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
        print(
            f"{rooms} rooms: {count:.0f} frames in {wall_s:.1f} s; {mean_ms:.2f} ms to the scores"
        )
        print(f"{cpu_ms:.2f} ms of processor a frame: {80 / cpu_ms:.0f} rooms for one core")
        assert cpu_ms < 8  # ten rooms for a core
