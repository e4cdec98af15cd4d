"""The service end to end over its WebSocket: real detectors and pipeline, stand-ins for engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from barnabee.testing.engines import FakeEars, FakeVoice, FakeWakeWords
from support.gpu_app import Starter
from support.serve import served
from support.voice import FakeApi, Microphone, Voice, recording, silence, voice

LIGHT = recording("kitchen_light_af_heart")


@dataclass
class House:
    voice: Voice
    api: FakeApi
    ears: FakeEars
    mouth: FakeVoice
    wake: FakeWakeWords


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        ears, mouth, wake, api = FakeEars(), FakeVoice(), FakeWakeWords(), FakeApi()
        start = Starter(stack)
        service = await start(stt=lambda: ears, tts=lambda: mouth, wake=lambda: wake)
        gpu_url = await stack.enter_async_context(served(service.running.app, lifespan="off"))
        api_url = await stack.enter_async_context(served(api.app()))
        one = await stack.enter_async_context(voice(gpu_url, api_url, tmp_path))
        yield House(one, api, ears, mouth, wake)


@asynccontextmanager
async def woken(house: House, room: str = "kitchen") -> AsyncIterator[Microphone]:
    """Be a microphone that has just woken the assistant."""
    async with house.voice.talk(room) as microphone:
        frames = house.wake.frames
        await microphone.say(silence(0.08))
        await microphone.until(lambda: house.wake.frames > frames)
        await microphone.say(house.wake.saying("hey_jarvis"))
        await microphone.until_state("listening")
        yield microphone


async def test_a_sentence_is_heard_answered_and_the_answer_is_spoken(house: House) -> None:
    async with woken(house) as microphone:
        wake = microphone.of("wake")[0]
        await microphone.say(LIGHT, silence(2.5))
        await microphone.until_state("follow_up")
        states = [one["state"] for one in microphone.of("state")]
        assert states == ["asleep", "listening", "hearing", "thinking", "speaking", "follow_up"]
        assert microphone.of("transcript")[0]["text"] == "turn on the kitchen light"
        assert microphone.of("reply")[0]["text"] == "The kitchen light is on."
        assert house.mouth.said == ["The kitchen light is on."]
        assert house.api.asked[0]["utterance"] == "turn on the kitchen light"
        assert house.api.traces == [wake["trace_id"]]
        spoken_s = len("The kitchen light is on.") * 0.01
        chime_s = 0.16
        assert len(microphone.heard) / 48_000 == pytest.approx(spoken_s + chime_s, abs=0.08)
        assert not microphone.of("error")
    assert house.voice.metric("barnabee_turns_total", outcome="answered", code="") == 1
