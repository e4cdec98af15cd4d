"""CPU time and memory of wake word detection in the real service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from support.benchmark import choose_size, is_at_most
from support.gpu import TOKEN, GpuProcess, run_wake_service
from support.wake_stream import load_padded_recording, open_wake_stream, split_audio

CALL = Path(__file__).parents[1] / "audio" / "wake" / "hey_jarvis_af_heart.wav"
FRAMES = "barnabee_wake_frame_seconds"
WARM_UP, STREAMS = choose_size((5, 40), (1, 2))
GROWTH_MIB = 8
NOISE_S = choose_size(60, 4)
FRAME_CPU_MS = 8  # ten rooms per core


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuProcess]:
    with run_wake_service(tmp_path_factory.mktemp("wake")) as service:
        yield service


async def test_many_streams_do_not_grow_the_memory(gpu: GpuProcess) -> None:
    audio = load_padded_recording(CALL) * 4
    assert gpu.process is not None
    process = psutil.Process(gpu.process.pid)

    async def open_streams(streams: int) -> None:
        for _ in range(streams):
            async with open_wake_stream(gpu.url, TOKEN) as link:
                await link.send_audio(*split_audio(audio, 32_000))
                await link.receive()

    await open_streams(WARM_UP)
    before = process.memory_info().rss
    await open_streams(STREAMS)
    grown = (process.memory_info().rss - before) / 2**20
    print(f"grown by {grown:.1f} MiB over {STREAMS} streams")
    assert is_at_most(grown, GROWTH_MIB)


async def test_cpu_time_of_a_room(gpu: GpuProcess) -> None:
    """Audio as fast as possible, on one stream and on eight."""
    assert gpu.process is not None
    process = psutil.Process(gpu.process.pid)
    noise = np.random.default_rng(0).integers(-2000, 2000, NOISE_S * 16_000, np.int16).tobytes()

    async def listen() -> None:
        async with open_wake_stream(gpu.url, TOKEN, threshold=1000) as link:
            await link.send_audio(*split_audio(noise, 2560))
            await link.send_message(type="end")
            await link.receive_until_closed()

    for rooms in (1, 8):
        used, begun = process.cpu_times(), time.perf_counter()
        frames, seconds = (gpu.read_metric(f"{FRAMES}_{kind}") for kind in ("count", "sum"))
        async with asyncio.TaskGroup() as group:
            for _ in range(rooms):
                group.create_task(listen())
        wall_s, now = time.perf_counter() - begun, process.cpu_times()
        count = gpu.read_metric(f"{FRAMES}_count") - frames
        mean_ms = (gpu.read_metric(f"{FRAMES}_sum") - seconds) / count * 1000
        cpu_ms = (now.user + now.system - used.user - used.system) / count * 1000
        print(f"{rooms} rooms: {count:.0f} frames in {wall_s:.1f} s; scores after {mean_ms:.2f} ms")
        print(f"{cpu_ms:.2f} ms of CPU time per frame: {80 / cpu_ms:.0f} rooms per core")
        assert is_at_most(cpu_ms, FRAME_CPU_MS)
