"""When a turn ends, and who goes on: the real pipeline and detectors, with judges we control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from barnabee.core import system
from barnabee.core.schema import System
from barnabee.gpu.engines.protocols import Samples, Segment
from barnabee.testing.engines import FakeEars, Gate
from barnabee.voice import filler_files
from barnabee.voice.transports import websocket
from barnabee.voice.turn_analyzer import Ends
from barnabee.voice.vad import Detector, Sign
from support.talk import AHEAD_S, House, talk_house, woken
from support.voice import ROOT, Microphone, recording, silence

LIGHT = recording("kitchen_light_af_heart")
LIGHT_S = len(LIGHT) / 16_000
FOR_EVER_MS = 600_000
TONE_S = 4.0


@dataclass
class GatedEars(FakeEars):
    """Hears nothing until the gate is opened."""

    gate: Gate = field(default_factory=Gate)

    def transcribe(
        self, samples: Samples, *, language: str, words: bool = False
    ) -> Iterator[Segment]:
        self.gate.passed()
        yield from super().transcribe(samples, language=language, words=words)


@dataclass
class Judge:
    """Stands in for smart-turn."""

    done: bool = True
    asked: int = 0

    async def verdict(self, _pcm: bytes) -> bool:
        self.asked += 1
        return self.done


@pytest.fixture(autouse=True)
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "AHEAD_S", AHEAD_S)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    one = Judge()
    monkeypatch.setattr(Ends, "done", one.verdict)
    return one


@pytest.fixture
def ears() -> GatedEars:
    return GatedEars()


def patient() -> System:
    """Return the house's system, in which nothing but the words ends an undecided turn."""
    graph = system.load(ROOT / "system.toml")
    return graph.model_copy(update={"talk": graph.talk.model_copy(update={"wait_ms": FOR_EVER_MS})})


@pytest.fixture
async def house(tmp_path: Path, judge: Judge, ears: GatedEars) -> AsyncIterator[House]:
    async with talk_house(tmp_path, patient(), ears) as one:
        yield one
    ears.gate.opened.set()


def states(microphone: Microphone) -> list[str]:
    return [one["state"] for one in microphone.of("state")]


async def until_taken_for_done(microphone: Microphone) -> None:
    await microphone.say(LIGHT, silence(0.4))
    await microphone.until_state("thinking")


async def test_what_reads_like_a_sentence_ends_a_turn_that_sounded_open(
    house: House, judge: Judge, ears: GatedEars
) -> None:
    judge.done, ears.text = False, "Turn on the kitchen light."
    ears.gate.opened.set()
    async with woken(house) as microphone:
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until_state("follow_up")
    assert house.api.asked[0]["utterance"] == ears.text
    silent_s = house.voice.metric("barnabee_stage_seconds_sum", stage="vad")
    assert silent_s >= system.load(ROOT / "system.toml").talk.whole_ms / 1000
    assert len(ears.heard) == 1  # what was heard in the pause is what is answered


async def test_what_reads_like_half_a_sentence_waits_for_the_rest(
    house: House, judge: Judge, ears: GatedEars
) -> None:
    judge.done, ears.text = False, "Turn on the"
    ears.gate.opened.set()
    async with woken(house) as microphone:
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until(lambda: len(ears.heard) == 1)
        assert microphone.state == "hearing"
        judge.done, ears.text = True, "Turn on the kitchen light."
        await microphone.say(LIGHT, silence(0.4))
        await microphone.until(lambda: bool(microphone.of("reply")))
    assert [one["utterance"] for one in house.api.asked] == [ears.text]
    assert ears.heard[-1][0] > 2 * LIGHT_S


async def test_who_goes_on_while_it_thinks_has_said_one_sentence(
    house: House, ears: GatedEars
) -> None:
    async with woken(house) as microphone:
        await until_taken_for_done(microphone)
        await microphone.say(LIGHT, silence(0.4))
        await microphone.until(
            lambda: states(microphone)[-3:] == ["thinking", "hearing", "thinking"]
        )
        ears.gate.opened.set()
        await microphone.until_state("follow_up")
        turns = {one["turn"] for one in microphone.of("state") if one["state"] == "thinking"}
        assert len(turns) == 1
        assert len(microphone.of("transcript")) == 1
    assert len(house.api.asked) == 1
    assert ears.heard[-1][0] > 2 * LIGHT_S
    assert house.voice.metric("barnabee_turns_total", outcome="answered", code="") == 1


async def test_once_the_words_are_known_it_answers_them(house: House, ears: GatedEars) -> None:
    """Somebody who goes on later than that begins the next turn when the reply is over."""
    async with woken(house) as microphone:
        await until_taken_for_done(microphone)
        ears.gate.opened.set()
        await microphone.until(lambda: bool(microphone.of("transcript")))
        await microphone.say(LIGHT, silence(0.4))
        await microphone.until(lambda: bool(microphone.of("reply")))
    assert house.api.asked


async def test_who_talks_into_the_reply_begins_a_turn_and_goes_on_with_none(
    house: House, ears: GatedEars, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.api.reply = "One, two, three, four, five, six. " * 12
    signs: list[Sign | None] = []

    def hear(detector: Detector, permille: float, *, careful: bool = False) -> Sign | None:
        sign = plainly(detector, permille, careful=careful)
        if careful:
            signs.append(sign)
        return sign

    plainly = Detector.hear
    monkeypatch.setattr(Detector, "hear", hear)
    ears.gate.opened.set()
    async with woken(house) as microphone:
        await microphone.say(LIGHT, silence(0.4))
        await microphone.until_state("speaking")
        await microphone.say(silence(0.2), LIGHT)
        await microphone.until(lambda: bool(microphone.of("heard")))
    assert [sign for sign in signs if sign][-2:] == [Sign.HINTED, Sign.BEGAN]
    assert Sign.RESUMED not in signs


async def test_a_click_while_it_thinks_takes_nothing_back(house: House, ears: GatedEars) -> None:
    click = (np.hanning(800) * 12_000).astype(np.int16)
    async with woken(house) as microphone:
        await until_taken_for_done(microphone)
        await microphone.say(silence(0.1), click, silence(0.4))
        assert microphone.state == "thinking"
        ears.gate.opened.set()
        await microphone.until_state("follow_up")
    assert states(microphone).count("hearing") == 1


async def test_a_filler_falls_silent_for_somebody_who_goes_on(
    tmp_path: Path, judge: Judge, ears: GatedEars
) -> None:
    def tone(_phrase: str) -> Samples:
        angle = 2 * np.pi * 330 * np.arange(int(24_000 * TONE_S)) / 24_000
        return (0.3 * np.sin(angle)).astype(np.float32)

    filler_files.generate(patient(), filler_files.Maker(tone, {}, 24_000), tmp_path / "fillers")
    assert judge.done
    async with talk_house(tmp_path, patient(), ears) as house, woken(house) as microphone:
        await until_taken_for_done(microphone)
        await microphone.until(lambda: len(microphone.heard) / 48_000 > 0.16 + 0.3)
        speaking = asyncio.create_task(microphone.say(LIGHT[:16_000], silence(0.4)))
        await microphone.until(lambda: bool(microphone.of("stop")))
        heard = len(microphone.heard)
        await microphone.until(
            lambda: states(microphone)[-3:] == ["thinking", "hearing", "thinking"]
        )
        assert len(microphone.heard) - heard < TONE_S * 48_000 / 2
        await speaking
        ears.gate.opened.set()
        await microphone.until_state("follow_up")
    assert len(house.api.asked) == 1
