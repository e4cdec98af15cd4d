"""Memory of the inference service over thousands of requests and model reloads."""

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

from support.benchmark import choose_size, is_at_most
from support.gpu import GpuProcess, find_models_dir

AUDIO = sorted((Path(__file__).parents[1] / "audio").glob("*.wav"))
CALLERS = 4
ROUNDS, EACH = choose_size((20, 100), (3, 20))
FIRST = choose_size(4, 0)  # rounds until pools and arenas have their final size
GROWTH_LIMIT = 1.05
MODELS = ("embeddings", "kokoro", "whisper")
WORDS = ("Okay.", "Got it.", "The kitchen light is on.", "It is ten past nine.", "One moment.")
# Of a hundred requests: most are embeddings.
MIXTURE = ("embed",) * 87 + ("synthesize",) * 8 + ("transcribe",) * 5


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[GpuProcess]:
    service = GpuProcess(tmp_path, find_models_dir()).start()
    try:
        service.wait_for("/health/ready")
        yield service
    finally:
        service.stop()


class LoadGenerator:
    """Sends a reproducible mixture of requests."""

    def __init__(self, gpu: GpuProcess) -> None:
        self.gpu = gpu

    def send_request(self, number: int) -> None:
        rng = random.Random(number)  # noqa: S311 - reproducible
        with self.gpu.client() as client:
            getattr(self, rng.choice(MIXTURE))(client, rng)

    def embed(self, client: httpx.Client, rng: random.Random) -> None:
        texts = [f"turn on lamp {rng.random()} " * rng.randint(1, 12)] * rng.randint(1, 8)
        body = {"model": "embeddings", "input": texts, "encoding_format": "base64"}
        assert client.post("/v1/embeddings", json=body).is_success

    def synthesize(self, client: httpx.Client, rng: random.Random) -> None:
        body = {"model": "kokoro", "input": rng.choice(WORDS)}
        assert client.post("/v1/audio/speech", json=body).is_success

    def transcribe(self, client: httpx.Client, rng: random.Random) -> None:
        files = {"file": ("a.wav", rng.choice(AUDIO).read_bytes())}
        answer = client.post("/v1/audio/transcriptions", files=files, data={"model": "whisper"})
        assert answer.is_success, answer.text

    def run_round(self, number: int) -> int:
        """Send requests concurrently and reload one model; return the resident MiB."""
        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(self.send_request, range(number * EACH, (number + 1) * EACH)))
        with self.gpu.client() as client:
            name = MODELS[number % len(MODELS)]
            assert client.post(f"/v1/models/{name}/unload").is_success
            assert client.get(f"/v1/models/{name}").json()["state"] == "absent"
            assert client.post(f"/v1/models/{name}/load").is_success
        assert self.gpu.process is not None
        return int(psutil.Process(self.gpu.process.pid).memory_info().rss) // 1024**2

    def read_peak_mib(self) -> int:
        """Return the peak of the resident memory."""
        assert self.gpu.process is not None
        status = Path(f"/proc/{self.gpu.process.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmHWM:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) // 1024


@pytest.mark.timeout(2400)
def test_memory_does_not_grow_over_2000_requests_and_20_reloads(gpu: GpuProcess) -> None:
    load = LoadGenerator(gpu)
    mib = [load.run_round(number) for number in range(ROUNDS)]
    early, late = median(mib[FIRST : FIRST + 4]), median(mib[-4:])
    print(
        f"\n{ROUNDS * EACH} requests, {ROUNDS} reloads; resident MiB after each {EACH}: {mib}; "
        f"{late / early:.3f} (limit {GROWTH_LIMIT}); peak {load.read_peak_mib()} MiB"
    )
    assert is_at_most(late / early, GROWTH_LIMIT)
    with gpu.client() as client:
        memory = client.get("/v1/vram").json()["card"]
    print(f"the ledger: {memory}")
    assert memory["held_mib"] + memory["base_mib"] == pytest.approx(memory["measured_mib"], rel=0.1)
