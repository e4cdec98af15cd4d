"""Wyoming's overhead: each request in turns with the same one over HTTP, in one run.

With fake engines, so that only the two ways to them are compared; `-s` shows the figures.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.tts import Synthesize

from barnabee.audio import wav
from support.benchmark import choose_size, is_at_most
from support.wyoming import run_wyoming_stack

PAIRS = choose_size(60, 3)
LIMIT_MS = 10
PCM = b"\x20" * 64_000  # two seconds at 16 kHz
SENTENCE = "The kitchen light is on."


async def measure_ms(request: Callable[[], Awaitable[object]]) -> float:
    start_s = time.perf_counter()
    await request()
    return (time.perf_counter() - start_s) * 1000


async def test_a_request_takes_at_most_ten_milliseconds_more_than_over_http() -> None:
    async with run_wyoming_stack() as stack:
        gpu, api = stack.services.gpu, stack.services.api

        async def speak() -> bytes:
            return b"".join([chunk async for chunk in gpu.speak(SENTENCE, format="pcm")])

        form = {"rate": 16_000, "width": 2, "channels": 1}
        audio = [
            AudioChunk(**form, audio=PCM[start : start + 2048])
            for start in range(0, len(PCM), 2048)
        ]
        utterance = (Transcribe(), AudioStart(**form), *audio, AudioStop())
        pairs: dict[str, tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]]]
        pairs = {
            "transcribe": (
                lambda: stack.ask(*utterance, until="transcript"),
                lambda: gpu.transcribe(wav.encode(PCM, 16_000)),
            ),
            "synthesize": (lambda: stack.ask(Synthesize(SENTENCE), until="audio-stop"), speak),
            "handle": (
                lambda: stack.ask(Transcript(SENTENCE), until="handled"),
                lambda: api.command(SENTENCE, "s"),
            ),
        }
        for name, (wyoming, http) in pairs.items():
            await wyoming(), await http()
            more_ms = [await measure_ms(wyoming) - await measure_ms(http) for _ in range(PAIRS)]
            median_ms = statistics.median(more_ms)
            print(f"\n{name}: {median_ms:.1f} ms more than over HTTP (limit {LIMIT_MS} ms)")
            assert is_at_most(median_ms, LIMIT_MS)
