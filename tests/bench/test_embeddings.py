"""Speed of embeddings compared with bare sentence-transformers and infinity-emb, same weights.

Bare means `SentenceTransformer.encode` in its own process without HTTP: call after call, or in 32
threads for 32 clients, like the pool of a web framework. torch's threads spin while they wait and
slow down beside other programs, so bare runs with all cores and with one (with and without a lock
around the model) and its best result of each round counts. infinity-emb and our service are called
over HTTP. Ratios are medians over the rounds.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from support.benchmark import choose_size, is_at_least
from support.gpu import TOKEN, GpuProcess, find_models_dir
from support.rival_embedders import run_infinity
from support.torch_env import make_offline_environment, make_torch_python

HERE = Path(__file__).parent
ATTEMPTS = 3  # because of other load on the machine; all are printed
CLIENTS = 32
SECONDS, ROUNDS, ALONE_EACH = choose_size((3.0, 5, 20), (0.3, 1, 2))
LIMITS = {"alone": {"bare": 1.0, "infinity": 1.0}, "together": {"bare": 2.0, "infinity": 1.0}}

Figures = dict[str, list[float]]


@dataclass
class Server:
    """HTTP server of embeddings."""

    port: int
    path: str
    model: str

    def alone_s(self, texts: list[str]) -> list[float]:
        """Return the seconds per text, one after the other on one connection."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        times_s = []
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as client:
            client.connect()
            for text in texts:
                begun = time.perf_counter()
                body = json.dumps({"model": self.model, "input": text})
                client.request("POST", self.path, body, headers)
                answer = client.getresponse()
                content = answer.read()
                times_s.append(time.perf_counter() - begun)
                assert answer.status == http.HTTPStatus.OK, content
        return times_s

    def rate(self, texts: list[str]) -> float:
        """Return the requests per second over CLIENTS connections."""
        arguments = [str(self.port), self.path, self.model, TOKEN, str(CLIENTS), str(SECONDS)]
        done = subprocess.run(
            [sys.executable, str(HERE / "embed_load.py"), *arguments],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        found = json.loads(done.stdout)
        assert found["failed"] == 0
        return float(found["rate"])


@dataclass
class Bare:
    """Process with bare sentence-transformers."""

    process: subprocess.Popen[str]

    def ask(self, wanted: dict[str, Any] | None = None) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        if wanted is not None:
            self.process.stdin.write(json.dumps(wanted) + "\n")
            self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def alone_s(self, texts: list[str]) -> list[float]:
        tried: list[list[float]] = [
            self.ask({"alone": texts, "single": single})["times_s"] for single in (False, True)
        ]
        return min(tried, key=median)

    def rate(self, texts: list[str]) -> float:
        wanted = {"threads": CLIENTS, "seconds": SECONDS / 3, "texts": texts}
        return max(
            float(self.ask({**wanted, "lock": lock, "single": single})["rate"])
            for lock, single in ((True, False), (True, True), (False, True))
        )


Subjects = dict[str, Server | Bare]


@pytest.fixture(scope="module")
def bare() -> Iterator[Bare]:
    command = [
        str(make_torch_python()),
        str(HERE / "bare_embedder.py"),
        str(find_models_dir() / "minilm"),
    ]
    with subprocess.Popen(
        command,
        env=make_offline_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        found = Bare(process)
        assert found.ask() == {"ready": True}
        yield found
        process.kill()


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory, bare: Bare) -> Iterator[Subjects]:
    directory = tmp_path_factory.mktemp("embeddings")
    with run_infinity(find_models_dir() / "minilm", directory) as url:
        service = GpuProcess(directory, find_models_dir()).start()
        try:
            service.wait_for("/health/live")
            service.wait_for("/health/ready")
            yield {
                "ours": Server(service.port, "/v1/embeddings", "embeddings"),
                "bare": bare,
                "infinity": Server(int(url.rpartition(":")[2]), "/embeddings", "rival"),
            }
        finally:
            service.stop()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Return utterances of 3 to 20 tokens."""
    data = HERE.parent / "data" / "intents_heldout.toml"
    table = tomllib.loads(data.read_text(encoding="utf-8"))
    return [text for utterances in table.values() for text in utterances if isinstance(text, str)]


def shown(name: str, figures: Figures, unit: str) -> dict[str, float]:
    """Print the medians and return how many times better ours is, paired by rounds."""
    ours = figures["ours"]
    ratios = {}
    for other in ("bare", "infinity"):
        pairs = zip(ours, figures[other], strict=True)
        better = [theirs / mine if unit == "ms" else mine / theirs for mine, theirs in pairs]
        ratios[other] = median(better)
    medians = ", ".join(f"{who} {median(one):.1f} {unit}" for who, one in figures.items())
    times = ", ".join(f"{ratio:.2f} x {who}" for who, ratio in ratios.items())
    print(f"\nembeddings, {name}: {medians}; {times}")
    return ratios


def good(ratios: dict[str, float], limits: dict[str, float]) -> bool:
    return all(is_at_least(ratios[other], limit) for other, limit in limits.items())


@pytest.mark.timeout(3600)  # the environments may have to be made
def test_one_client_is_answered_as_fast_as_by_the_others(
    subjects: Subjects, texts: list[str]
) -> None:
    for _ in range(ATTEMPTS):
        figures: Figures = {name: [] for name in subjects}
        for start in range(0, ROUNDS * ALONE_EACH, ALONE_EACH):
            some = texts[start : start + ALONE_EACH]
            for name, subject in subjects.items():
                figures[name].append(median(subject.alone_s(some)) * 1000)
        ratios = shown("1 client", figures, "ms")
        if good(ratios, LIMITS["alone"]):
            break
    assert good(ratios, LIMITS["alone"]), ratios


@pytest.mark.timeout(3600)
def test_32_clients_get_more_than_from_the_others(subjects: Subjects, texts: list[str]) -> None:
    for _ in range(ATTEMPTS):
        figures: Figures = {name: [] for name in subjects}
        for _ in range(ROUNDS):
            for name, subject in subjects.items():
                figures[name].append(subject.rate(texts))
        ratios = shown(f"{CLIENTS} clients", figures, "a second")
        if good(ratios, LIMITS["together"]):
            break
    assert good(ratios, LIMITS["together"]), ratios
