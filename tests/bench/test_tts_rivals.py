"""Speed of synthesis compared with kokoro-onnx and fastkokoro.

All use the same ONNX file, voice, text and threads, one after the other in one run and in changing
order, so that other load affects all. Compared are pairs of the same round. kokoro-onnx is called
as in its README: `Kokoro(model, voices).create(text, voice=…)` returns the whole audio.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import pytest

from support.benchmark import choose_size, is_at_most
from support.gpu import GpuProcess, find_models_dir
from support.rival_speech_servers import run_fastkokoro

ATTEMPTS = 3  # because of other load on the machine; all are printed
ROUNDS = choose_size(3, 1)
FIRST_SHARE = 0.4
TOTAL_RATIO = 1.05
RIVAL_RATIO = 1.05
VOICE = "af_heart"
SENTENCE = (
    "The heating in the living room is set to twenty degrees, the front door is locked, and it "
    "will rain in the afternoon, so take an umbrella with you when you leave the house."
)


@dataclass(frozen=True)
class SynthesisTimes:
    """Time until the first and the last audio, and the duration of the audio."""

    first_s: float
    total_s: float
    sound_s: float


Synthesize = Callable[[], SynthesisTimes]


def make_http_synthesizer(client: httpx.Client, **options: object) -> Synthesize:
    body = {"model": "kokoro", "input": SENTENCE, "voice": VOICE, "response_format": "pcm"}

    def synthesize() -> SynthesisTimes:
        begun, first_s, size = time.perf_counter(), 0.0, 0
        with client.stream("POST", "/v1/audio/speech", json={**body, **options}) as response:
            assert response.is_success, response.read()
            for chunk in response.iter_bytes():
                first_s = first_s or time.perf_counter() - begun
                size += len(chunk)
        return SynthesisTimes(first_s, time.perf_counter() - begun, size / 48_000)

    return synthesize


def make_library_synthesizer(files: Path) -> Synthesize:
    from kokoro_onnx import Kokoro  # noqa: PLC0415 - heavy

    model = Kokoro(str(files / "model.onnx"), str(files / "voices.npz"))

    def synthesize() -> SynthesisTimes:
        begun = time.perf_counter()
        samples, rate_hz = model.create(SENTENCE, voice=VOICE, speed=1.0, lang="en-us")
        took_s = time.perf_counter() - begun
        return SynthesisTimes(took_s, took_s, len(samples) / rate_hz)

    return synthesize


@pytest.mark.timeout(1800)
def test_synthesis_is_as_fast_as_library_and_other_server(gpu: GpuProcess, tmp_path: Path) -> None:
    files = find_models_dir() / "kokoro-int8"
    with run_fastkokoro(files, tmp_path) as rival, gpu.client() as client:
        synthesizers = {
            "service": make_http_synthesizer(client),
            "kokoro-onnx": make_library_synthesizer(files),
            "fastkokoro": make_http_synthesizer(rival, stream=True),
        }
        for synthesize in synthesizers.values():
            synthesize()
        for _ in range(ATTEMPTS):
            shares = measure(synthesizers)
            if is_within_limits(shares):
                break
    assert is_within_limits(shares), shares


def is_within_limits(shares: dict[str, float]) -> bool:
    return (
        is_at_most(shares["first"], FIRST_SHARE)
        and is_at_most(shares["total"], TOTAL_RATIO)
        and is_at_most(shares["rival"], RIVAL_RATIO)
    )


def measure(synthesizers: dict[str, Synthesize]) -> dict[str, float]:
    """Return the median ratios that have limits."""
    rounds: dict[str, list[SynthesisTimes]] = {name: [] for name in synthesizers}
    names = list(synthesizers)
    for number in range(ROUNDS):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            rounds[name].append(synthesizers[name]())
    ours, direct, rival = (rounds[name] for name in names)
    shares = {
        "first": median(o.first_s / d.total_s for o, d in zip(ours, direct, strict=True)),
        "total": median(o.total_s / d.total_s for o, d in zip(ours, direct, strict=True)),
        "rival": median(o.total_s / r.total_s for o, r in zip(ours, rival, strict=True)),
        "rival first": median(o.first_s / r.first_s for o, r in zip(ours, rival, strict=True)),
    }
    for name, spoken in rounds.items():
        first, total, sound = (
            median(getattr(one, field) for one in spoken)
            for field in ("first_s", "total_s", "sound_s")
        )
        print(
            f"\n{name}: first sound {first:.2f} s, all {total:.2f} s, for {sound:.1f} s of sound",
            end="",
        )
    print(
        f"\nfirst sound / library's whole {shares['first']:.2f} (limit {FIRST_SHARE}), "
        f"all / library {shares['total']:.2f} (limit {TOTAL_RATIO}), "
        f"all / fastkokoro {shares['rival']:.2f} (limit {RIVAL_RATIO}), "
        f"first / fastkokoro's {shares['rival first']:.2f}"
    )
    return shares
