"""The inference service as a process: latency of each stage and of a turn, and many rooms at once.

A turn is what the service does of one: the recorded question to text, the text to a vector, the
reply to sound. Home Assistant and the language model are not part of it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, cast

from barnabee.audio import wav
from barnabee.audio.samples import STT_RATE_HZ, to_pcm16
from barnabee.clients.gpu import GpuClient, ModelNames
from barnabee.core.errors import BarnabeeError
from gpu import engines
from gpu.context import AUDIO, Bench
from gpu.report import CheckFailed
from support.gpu import TOKEN, GpuProcess

REPLY = "Okay. The kitchen light is on."
TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.05


@dataclass
class Turn:
    """Seconds from the start of a turn to the end of each stage."""

    text_s: float
    vector_s: float
    first_sound_s: float
    whole_s: float


@dataclass
class Load:
    """Turns of one level of load, and the errors by code."""

    turns: list[Turn] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


async def run(bench: Bench) -> None:
    """Start the service, then measure single turns and every number of rooms."""
    with tempfile.TemporaryDirectory() as folder:
        environment: dict[str, str] = {"BARNABEE_DEVICE": bench.device.kind}
        process = GpuProcess(Path(folder), bench.models, environment=environment)
        begun_s = time.perf_counter()
        process.start()
        try:
            note = await asyncio.to_thread(wait_until_loaded, process)
            bench.recorder.record("start to ready", time.perf_counter() - begun_s, "s", note)
            await _measure(bench, process)
        finally:
            status, seconds = process.stop()
            bench.recorder.record("stop", seconds, "s", f"exit status {status}")


def wait_until_loaded(process: GpuProcess) -> str:
    """Wait until every engine has loaded or failed; return what the health check says."""
    process.wait_for("/health/live")
    deadline_s = time.monotonic() + TIMEOUT_S
    with process.client() as client:
        while True:
            ready = client.get("/health/ready").json()
            found: dict[str, dict[str, Any]] = ready["dependencies"]
            loading = [name for name, one in found.items() if one["code"] == "loading"]
            if not loading:
                break
            if time.monotonic() > deadline_s:
                raise CheckFailed(f"{', '.join(loading)} still loading after {TIMEOUT_S:.0f} s")
            time.sleep(POLL_INTERVAL_S)
    faults = [f"{name}: {one['message']}" for name, one in found.items() if one["code"]]
    if ready["status"] == "unhealthy":
        raise CheckFailed("; ".join(faults))
    return "; ".join([ready["status"], *faults])


async def _measure(bench: Bench, process: GpuProcess) -> None:
    async with open_client(process, ModelNames()) as client:
        names, sound = await _choose_model(bench, client, process)
    async with open_client(process, names) as client:
        stages = {
            "speech to text": lambda: client.transcribe(sound),
            "embedding of a text": lambda: client.embed([engines.QUESTION_TEXT]),
            "speech of a reply": lambda: _speak(client),
        }
        for name, stage in stages.items():
            with bench.recorder.part(name):
                await _measure_stage(bench, name, stage)
        with bench.recorder.part("turn"):
            turns = [await run_turn(client, "kitchen", sound) for _ in range(bench.repeats)]
            record_turns(bench, turns)
        for rooms in bench.rooms:
            with bench.recorder.part(f"{rooms} rooms"):
                await measure_rooms(bench, client, rooms, sound)


async def _measure_stage(bench: Bench, name: str, stage: Callable[[], Awaitable[object]]) -> None:
    times_s = []
    for _ in range(bench.repeats + 1):
        begun_s = time.perf_counter()
        await stage()
        times_s.append(time.perf_counter() - begun_s)
    bench.recorder.record(f"first {name}", times_s[0] * 1000, "ms")
    bench.recorder.record_times(name, times_s[1:])


async def _speak(client: GpuClient) -> float:
    """Synthesize REPLY; return the seconds to its first sound."""
    begun_s, first_s = time.perf_counter(), 0.0
    async with aclosing(cast("AsyncGenerator[bytes, None]", client.speak(REPLY))) as chunks:
        async for _ in chunks:
            first_s = first_s or time.perf_counter() - begun_s
    return first_s


@asynccontextmanager
async def open_client(process: GpuProcess, names: ModelNames) -> AsyncIterator[GpuClient]:
    client = GpuClient(process.url, TOKEN, names=names, timeout_s=TIMEOUT_S)
    try:
        yield client
    finally:
        await client.aclose()


async def _choose_model(
    bench: Bench, client: GpuClient, process: GpuProcess
) -> tuple[ModelNames, bytes]:
    """Return a speech-to-text model and a sound that it transcribes: real weights first."""
    speech = (AUDIO / engines.QUESTION).read_bytes()
    result = await client.transcribe(speech)
    if engines.QUESTION_TEXT in result.text.lower():
        return ModelNames(), speech
    whisper = ModelNames(stt="whisper")
    try:
        async with open_client(process, whisper) as other:
            await other.transcribe(speech)
    except BarnabeeError as error:
        bench.recorder.fail("Whisper", error.code, str(error))
    else:
        return whisper, speech
    tones = engines.make_tones()
    content = wav.encode(to_pcm16(tones), STT_RATE_HZ)
    if (await client.transcribe(content)).text != engines.TONES_TEXT:
        raise CheckFailed("no speech-to-text model gives the right text")
    bench.recorder.record("speech to text", "the small export of Parakeet, on tones")
    return ModelNames(), content


async def run_turn(client: GpuClient, room: str, sound: bytes) -> Turn:
    async with client.turn(room):
        begun_s = time.perf_counter()
        text = (await client.transcribe(sound)).text
        text_s = time.perf_counter() - begun_s
        await client.embed([text])
        vector_s = time.perf_counter() - begun_s
        first_sound_s = vector_s + await _speak(client)
        return Turn(text_s, vector_s, first_sound_s, time.perf_counter() - begun_s)


def record_turns(bench: Bench, turns: list[Turn]) -> None:
    stages = {
        "turn: speech to text": [turn.text_s for turn in turns],
        "turn: embedding of the text": [turn.vector_s - turn.text_s for turn in turns],
        "turn: first sound of the reply": [turn.first_sound_s - turn.vector_s for turn in turns],
        "whole turn to the first sound": [turn.first_sound_s for turn in turns],
        "whole turn to the last sound": [turn.whole_s for turn in turns],
    }
    for name, times_s in stages.items():
        bench.recorder.record_times(name, times_s)


async def measure_rooms(bench: Bench, client: GpuClient, rooms: int, sound: bytes) -> None:
    """Let rooms take turns without pause for a while; each takes at least one."""
    load, begun_s = Load(), time.perf_counter()

    async def run_room(number: int) -> None:
        while True:
            try:
                load.turns.append(await run_turn(client, f"room{number}", sound))
            except BarnabeeError as error:
                load.errors[error.code] += 1
            if time.perf_counter() - begun_s >= bench.seconds:
                return

    await asyncio.gather(*(run_room(number) for number in range(rooms)))
    took_s = time.perf_counter() - begun_s
    if not load.turns:
        raise CheckFailed(f"no turn succeeded: {dict(load.errors)}")
    refused = ", ".join(f"{count} {code}" for code, count in load.errors.items()) or "no error"
    firsts = [turn.first_sound_s * 1000 for turn in load.turns]
    highest = quantiles(firsts, n=20)[-1] if len(firsts) > 1 else firsts[0]
    note = f"first sound {median(firsts):.3g} ms, 95 % within {highest:.3g} ms; {refused}"
    bench.recorder.record(f"{rooms} rooms", len(load.turns) / took_s, "turns/s", note)
