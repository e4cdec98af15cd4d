"""Memory and descriptors of the services under mixed load for ten minutes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from support.benchmark import choose_size, is_at_most
from support.deployment import Deployment
from support.voice import load_recording, make_silence, open_microphone

SERVICES = ("api", "voice", "gpu", "worker")
WARM_UP_S, DURATION_S = choose_size(180.0, 3.0), choose_size(600.0, 6.0)
SAMPLE_S = choose_size(5.0, 0.5)
GROWTH_MAX = 1.02
EMBEDDING = {"model": "embeddings", "input": "a light"}
SPEECH = Path(__file__).parents[1] / "audio/what_time_af_heart.wav"

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("deployment")
    with Deployment(directory, demo_home=False).running() as running:
        yield running


class MixedLoad:
    """What a home sends, faster: each kind of request again and again until the task ends."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []

    async def run(self) -> None:
        async with (
            self._deployment.client() as api,
            self._deployment.client("gpu") as gpu,
            asyncio.TaskGroup() as tasks,
        ):
            kinds: dict[str, tuple[float, Callable[[], Awaitable[httpx.Response | None]]]] = {
                "command": (0.2, lambda: self._send_command(api)),
                "wrong token": (0.5, lambda: self._send_wrong_token(api)),
                "event stream": (1.0, lambda: self._open_event_stream(api)),
                "embedding": (1.0, lambda: gpu.post("/v1/embeddings", json=EMBEDDING)),
                "transcription": (10.0, lambda: self._transcribe(gpu)),
                "conversation": (15.0, self._talk),
            }
            for name, (every_s, send) in kinds.items():
                tasks.create_task(self._repeat(name, every_s, send))

    async def _repeat(
        self, name: str, every_s: float, send: Callable[[], Awaitable[httpx.Response | None]]
    ) -> None:
        while True:
            response = await send()
            if response is not None and response.is_error:
                self.failures.append(f"{name}: {response.status_code} {response.text}")
            self.done[name] += 1
            await asyncio.sleep(every_s)

    async def _send_command(self, api: httpx.AsyncClient) -> httpx.Response:
        body = {"utterance": "what time is it", "session_id": f"room-{self.done['command'] % 8}"}
        return await api.post("/v1/command", json=body)

    async def _send_wrong_token(self, api: httpx.AsyncClient) -> None:
        response = await api.get("/v1/turns", headers={"Authorization": "Bearer wrong"})
        assert response.status_code in {401, 429}, response.text

    async def _open_event_stream(self, api: httpx.AsyncClient) -> None:
        async with api.stream("GET", "/api/events") as stream:
            assert stream.status_code == 200

    async def _transcribe(self, gpu: httpx.AsyncClient) -> httpx.Response:
        files = {"file": ("speech.wav", SPEECH.read_bytes())}
        return await gpu.post("/v1/audio/transcriptions", files=files, data={"model": "whisper"})

    async def _talk(self) -> None:
        url = self._deployment.url("voice")
        async with open_microphone(url, room="kitchen", token=self._deployment.token) as microphone:
            await microphone.send_audio(make_silence(0.5), load_recording(SPEECH.stem))


class Usage:
    """Resident memory in MiB and descriptors of one service, over time."""

    def __init__(self, pid: int) -> None:
        self.process = psutil.Process(pid)
        self.memory_mib: list[float] = []
        self.descriptors: list[int] = []

    def sample(self) -> None:
        self.memory_mib.append(self.process.memory_info().rss / 2**20)
        self.descriptors.append(self.process.num_fds())


def compare_ends(values: list[float] | list[int]) -> tuple[float, float]:
    """Return the medians of the first and of the last quarter."""
    quarter = max(len(values) // 4, 1)
    return statistics.median(values[:quarter]), statistics.median(values[-quarter:])


async def test_memory_and_descriptors_stay_flat(deployment: Deployment) -> None:
    usages = {}
    for name in SERVICES:
        pid = deployment.read_node(name).pid
        assert pid is not None
        usages[name] = Usage(pid)
    load = MixedLoad(deployment)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(WARM_UP_S)
    end_s = time.monotonic() + DURATION_S
    while time.monotonic() < end_s and not running.done():
        for usage in usages.values():
            usage.sample()
        await asyncio.sleep(SAMPLE_S)
    assert not running.done(), running.exception()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print(f"\n{dict(load.done)}")
    growth = []
    for name, usage in usages.items():
        first_mib, last_mib = compare_ends(usage.memory_mib)
        first, last = compare_ends(usage.descriptors)
        print(f"  {name:<7} {first_mib:.1f} -> {last_mib:.1f} MiB,", end=" ")
        print(f"{first:g} -> {last:g} descriptors")
        growth += [last_mib / first_mib, last / first]
    assert load.failures == []
    assert set(load.done) >= {"command", "wrong token", "event stream", "embedding"}
    assert is_at_most(max(growth), GROWTH_MAX)
