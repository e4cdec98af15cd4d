"""Each engine alone: load, latency, memory against system.toml, what an unload leaves behind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from barnabee.audio.samples import STT_RATE_HZ
from barnabee.core.schema import VoiceConfig
from barnabee.gpu.engines.base import WAKE_FRAME_SAMPLES, Device
from barnabee.gpu.engines.kokoro import Kokoro, KokoroTorch
from barnabee.gpu.engines.minilm import MiniLm, MiniLmTorch
from barnabee.gpu.engines.parakeet import Parakeet
from barnabee.gpu.engines.wakeword import OpenWakeWord
from barnabee.gpu.engines.whisper import Whisper
from barnabee.gpu.model_runtime import ModelRuntime
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.memory_monitor import MemoryMonitor, load_and_measure, unload_and_measure
from gpu.context import AUDIO, Bench, PeakSampler, read_wav, time_runs
from gpu.report import CheckFailed
from support import kokoro_network

QUESTION = "what_time_af_heart.wav"
QUESTION_TEXT = "what time is it"
SHORT_REPLY = "Okay."
LONG_REPLY = "Good morning. The heating is set to twenty degrees, and the front door is locked."
# Tones of the small Parakeet export (support/parakeet_tdt.py) and their text.
TONES_HZ, TONES_TEXT = (500, 900, 1400), "turn on light"
TEXTS = [f"turn on the kitchen light number {number}" for number in range(32)]
MIN_COSINE = 0.999


@dataclass(frozen=True)
class EngineCase:
    """An engine, its model in system.toml, and what is done with it."""

    model: str
    make: Callable[[], Any]
    use: Callable[[Any], None]  # times it with `Bench.recorder`, and checks the result


async def measure(bench: Bench, case: EngineCase, *, on_gpu: bool = True) -> None:
    """Load, use, unload and load again; record times and memory."""
    probe, model = bench.open_probe(), bench.cuda_model(case.model)
    runtime: ModelRuntime[Any] = ModelRuntime(model.task, case.model, case.make)
    memory = MemoryMonitor(Ledger(bench.system.gpu, {case.model: model}), probe)
    if on_gpu:
        bench.open_context()
    await memory.measure_baseline()
    if memory.error:
        raise memory.error
    loaded = await load_and_measure(runtime, memory, 0)
    bench.recorder.record("load and first inference", loaded.duration_s, "s")
    bench.recorder.record(
        "memory after the load", loaded.held_mib, "MiB", f"declared {model.vram_reserved_mib}"
    )
    sampler = PeakSampler(probe)
    try:
        with sampler.sample():
            await runtime._thread.run(lambda: case.use(runtime.require_engine()))
    finally:
        peak_mib = max(loaded.held_mib, sampler.peak_mib - memory.baseline_mib)
        over_mib = peak_mib - model.vram_peak_mib
        verdict = f"exceeds it by {over_mib}" if over_mib > 0 else "within"
        note = f"declared {model.vram_peak_mib}: {verdict}; {sampler.readings} readings"
        bench.recorder.record("highest memory", peak_mib, "MiB", note)
        left_mib = await unload_and_measure(runtime, memory, loaded.held_mib, time.monotonic)
        bench.recorder.record("memory left after the unload", left_mib, "MiB")
    again = await load_and_measure(runtime, memory, left_mib)
    bench.recorder.record("second load", again.duration_s, "s", f"{again.held_mib} MiB held")
    left_mib = await unload_and_measure(runtime, memory, again.held_mib, time.monotonic)
    bench.recorder.record("memory left after the second unload", left_mib, "MiB")


async def run_minilm(bench: Bench) -> None:
    await measure(bench, _minilm_case(bench, MiniLmTorch))


async def run_minilm_onnx(bench: Bench) -> None:
    await measure(bench, _minilm_case(bench, MiniLm))


def _minilm_case(bench: Bench, engine_class: type[MiniLm | MiniLmTorch]) -> EngineCase:
    files = bench.files("embeddings")
    reference = MiniLm.load(files, device=Device("cpu", bench.device.threads)).embed(TEXTS).vectors

    def use(engine: Any) -> None:
        bench.recorder.record_times(
            "one text", time_runs(lambda: engine.embed(TEXTS[:1]), bench.repeats)
        )
        times_s = time_runs(lambda: engine.embed(TEXTS), bench.repeats)
        bench.recorder.record_times(f"{len(TEXTS)} texts in one call", times_s)
        lowest = float((engine.embed(TEXTS).vectors * reference).sum(axis=1).min())
        bench.recorder.record("lowest cosine to the CPU's vectors", f"{lowest:.6f}")
        if not lowest >= MIN_COSINE:
            raise CheckFailed(f"cosine {lowest:.6f} to the CPU's vectors")

    return EngineCase("embeddings", lambda: engine_class.load(files, device=bench.device), use)


async def run_whisper(bench: Bench) -> None:
    await measure(bench, make_whisper_case(bench, "float16" if bench.is_cuda else "int8"))


async def run_whisper_int8(bench: Bench) -> None:
    await measure(bench, make_whisper_case(bench, "int8_float16" if bench.is_cuda else "int8"))


def make_whisper_case(bench: Bench, compute_type: str) -> EngineCase:
    files, samples = bench.files("whisper"), read_wav(QUESTION)

    def make() -> Whisper:
        return Whisper.load(files, device=bench.device, compute_type=compute_type)

    return EngineCase("whisper", make, lambda one: _transcribe(bench, one, samples, QUESTION_TEXT))


async def run_parakeet(bench: Bench) -> None:
    """Measure Parakeet; the small export recognises tones, a real one the recorded question."""
    files = bench.files("parakeet")
    is_small = (files / "vocab.txt").stat().st_size < 1000
    samples = make_tones() if is_small else read_wav(QUESTION)
    expected = TONES_TEXT if is_small else QUESTION_TEXT

    def use(engine: Any) -> None:
        _transcribe(bench, engine, samples, expected)

    await measure(
        bench, EngineCase("parakeet", lambda: Parakeet.load(files, device=bench.device), use)
    )


def make_tones() -> Any:
    """Return TONES_HZ with gaps in faint noise, at 16 kHz."""
    gap = np.zeros(int(0.4 * STT_RATE_HZ))
    times = np.arange(int(0.24 * STT_RATE_HZ)) / STT_RATE_HZ
    parts = [gap]
    for hz in TONES_HZ:
        parts += [0.3 * np.sin(2 * np.pi * hz * times), gap]
    joined = np.concatenate(parts)
    return (joined + np.random.default_rng(0).normal(0, 1e-3, len(joined))).astype(np.float32)


def _transcribe(bench: Bench, engine: Any, samples: Any, expected: str) -> None:
    texts: list[str] = []

    def transcribe() -> None:
        segments = engine.transcribe(samples, language="en")
        texts.append("".join(segment.text for segment in segments))

    duration_s = len(samples) / STT_RATE_HZ
    times_s = time_runs(transcribe, bench.repeats)
    bench.recorder.record_times(f"{duration_s:.1f} s of audio", times_s, f"{texts[-1].strip()!r}")
    found = re.sub(r"[^a-z ]", "", texts[-1].lower()).strip()
    if found != expected:
        raise CheckFailed(f"transcribed {found!r} instead of {expected!r}")


async def run_kokoro(bench: Bench) -> None:
    files = bench.files("kokoro")
    case = _kokoro_case(bench, lambda voice: KokoroTorch.load(files, voice, device=bench.device))
    await measure(bench, case)


async def run_kokoro_onnx(bench: Bench) -> None:
    files = bench.models / "kokoro-int8"
    case = _kokoro_case(bench, lambda voice: Kokoro.load(files, voice, device=bench.device))
    await measure(bench, case)


def _kokoro_case(bench: Bench, load: Callable[[VoiceConfig], Any]) -> EngineCase:
    voice = bench.system.voice.model_copy(update={"blend": kokoro_network.BLEND})

    def use(engine: Any) -> None:
        for text in (SHORT_REPLY,) if bench.quick else (SHORT_REPLY, LONG_REPLY):
            firsts, wholes, duration_s = _speak(engine, text, voice.name, bench.repeats)
            words = len(text.split())
            note = f"{duration_s:.2f} s of audio"
            bench.recorder.record_times(f"first phrase of {words} words", firsts)
            bench.recorder.record_times(f"all of {words} words", wholes, note)

    return EngineCase("kokoro", lambda: load(voice), use)


def _speak(
    engine: Any, text: str, voice: str, repeats: int
) -> tuple[list[float], list[float], float]:
    """Return the seconds to the first phrase and to the last, and the duration of the speech."""
    firsts, wholes, samples = [], [], 0
    for _ in range(repeats):
        begun_s = time.perf_counter()
        phrases: list[Any] = []
        for phrase in engine.speak(text, voice=voice, speed=1.0):
            if not phrases:
                firsts.append(time.perf_counter() - begun_s)
            phrases.append(phrase)
        wholes.append(time.perf_counter() - begun_s)
        samples = sum(len(phrase) for phrase in phrases)
        if not samples or not all(np.isfinite(phrase).all() for phrase in phrases):
            raise CheckFailed("the speech is empty or not finite")
    return firsts, wholes, samples / engine.sample_rate_hz


async def run_wake_word(bench: Bench) -> None:
    """Measure the wake word engine, which runs on the CPU in any case."""
    words = bench.system.wake.words

    def use(engine: Any) -> None:
        stream = engine.open_stream(words)
        noise = np.random.default_rng(0).integers(-300, 300, WAKE_FRAME_SAMPLES, np.int16)
        times_s = time_runs(lambda: stream.score_frame(noise), bench.repeats * 10)
        bench.recorder.record_times("one frame of 80 ms", times_s)
        score = _score_recording(engine, words, AUDIO / "wake" / "hey_jarvis_af_heart.wav")
        bench.recorder.record("score of the spoken wake word", score)
        if score < bench.system.wake.threshold_permille / 1000:
            raise CheckFailed(f"the spoken wake word scored {score:.3f}")

    files = bench.files("wakeword")
    case = EngineCase("wakeword", lambda: OpenWakeWord.load(files, words), use)
    await measure(bench, case, on_gpu=False)


def _score_recording(engine: Any, words: list[str], path: Path) -> float:
    samples = (read_wav(str(path.relative_to(AUDIO))) * 32767).astype(np.int16)
    stream = engine.open_stream(words)
    padded = np.concatenate([np.zeros(STT_RATE_HZ, np.int16), samples, np.zeros(8000, np.int16)])
    starts = range(0, len(padded) - WAKE_FRAME_SAMPLES, WAKE_FRAME_SAMPLES)
    scores = [stream.score_frame(padded[at : at + WAKE_FRAME_SAMPLES]) for at in starts]
    return max(float(max(one.values())) for one in scores)
