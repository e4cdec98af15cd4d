"""The inference service's memory over thousands of requests, models coming and going meanwhile."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import httpx
import psutil
import pytest

from support.gpu import GpuProcess, models_dir

AUDIO = sorted((Path(__file__).parents[1] / "audio").glob("*.wav"))
CALLERS = 4
ROUNDS, EACH = 20, 100
FIRST = 4  # rounds until pools and arenas have found their size
GROWTH_LIMIT = 1.05
MODELS = ("embeddings", "kokoro", "whisper")
WORDS = ("Okay.", "Got it.", "The kitchen light is on.", "It is ten past nine.", "One moment.")
# Of a hundred requests: a house asks what things mean far more often than it speaks and listens.
MIXTURE = ("embed",) * 87 + ("speak",) * 8 + ("hear",) * 5


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[GpuProcess]:
    service = GpuProcess(tmp_path, models_dir()).start()
    try:
        service.wait_for("/health/ready")
        yield service
    finally:
        service.stop()


class House:
    """Asks for everything, in an order that is the same every time."""

    def __init__(self, gpu: GpuProcess) -> None:
        self.gpu = gpu

    def ask(self, number: int) -> None:
        dice = random.Random(number)  # noqa: S311 - nothing secret is drawn here
        with self.gpu.client() as client:
            getattr(self, dice.choice(MIXTURE))(client, dice)

    def embed(self, client: httpx.Client, dice: random.Random) -> None:
        texts = [f"turn on lamp {dice.random()} " * dice.randint(1, 12)] * dice.randint(1, 8)
        body = {"model": "embeddings", "input": texts, "encoding_format": "base64"}
        assert client.post("/v1/embeddings", json=body).is_success

    def speak(self, client: httpx.Client, dice: random.Random) -> None:
        body = {"model": "kokoro", "input": dice.choice(WORDS)}
        assert client.post("/v1/audio/speech", json=body).is_success

    def hear(self, client: httpx.Client, dice: random.Random) -> None:
        files = {"file": ("a.wav", dice.choice(AUDIO).read_bytes())}
        answer = client.post("/v1/audio/transcriptions", files=files, data={"model": "whisper"})
        assert answer.is_success, answer.text

    def round(self, number: int) -> int:
        """Ask many things at a time, take one model away and bring it back; return MiB then."""
        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(self.ask, range(number * EACH, (number + 1) * EACH)))
        with self.gpu.client() as client:
            name = MODELS[number % len(MODELS)]
            assert client.post(f"/v1/models/{name}/unload").is_success
            assert client.get(f"/v1/models/{name}").json()["state"] == "absent"
            assert client.post(f"/v1/models/{name}/load").is_success
        assert self.gpu.process is not None
        return int(psutil.Process(self.gpu.process.pid).memory_info().rss) // 1024**2

    def peak_mib(self) -> int:
        """Return the most that was ever resident."""
        assert self.gpu.process is not None
        status = Path(f"/proc/{self.gpu.process.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmHWM:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) // 1024


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_memory_does_not_grow_over_two_thousand_requests_and_reloads(gpu: GpuProcess) -> None:
    house = House(gpu)
    mib = [house.round(number) for number in range(ROUNDS)]
    early, late = median(mib[FIRST : FIRST + 4]), median(mib[-4:])
    print(
        f"\n{ROUNDS * EACH} requests, {ROUNDS} reloads; resident MiB after each {EACH}: {mib}; "
        f"{late / early:.3f} (limit {GROWTH_LIMIT}); peak {house.peak_mib()} MiB"
    )
    assert late <= early * GROWTH_LIMIT
    with gpu.client() as client:
        card = client.get("/v1/vram").json()["card"]
    print(f"the ledger: {card}")
    assert card["held_mib"] + card["base_mib"] == pytest.approx(card["measured_mib"], rel=0.1)
