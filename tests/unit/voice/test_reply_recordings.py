"""Recorded fillers and outage announcements around a reply, over the WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.responses import JSONResponse

from barnabee.core import system
from barnabee.voice import fillers
from barnabee.voice.transports import websocket
from support.voice import ROOT, load_recording, make_silence
from support.voice_stack import MAX_AHEAD_S, VoiceStack, open_woken_microphone, run_voice_stack

LIGHT = load_recording("kitchen_light_af_heart")


@pytest.fixture
async def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VoiceStack]:
    monkeypatch.setattr(websocket, "MAX_AHEAD_S", MAX_AHEAD_S)
    async with run_voice_stack(tmp_path) as running:
        yield running


@pytest.fixture
def recorded(tmp_path: Path) -> float:
    """Record every phrase as a tone of 3 s; return its duration."""
    seconds = 3.0

    def tone(_phrase: str) -> NDArray[np.float32]:
        angle = 2 * np.pi * 330 * np.arange(int(seconds * 24_000)) / 24_000
        return (0.3 * np.sin(angle)).astype(np.float32)

    synthesizer = fillers.PhraseSynthesizer(tone, {"tone": 330}, 24_000)
    fillers.generate_recordings(system.get_system(), synthesizer, tmp_path / "fillers")
    return seconds


async def test_filler_plays_during_a_long_wait_and_is_cut_by_the_reply(
    recorded: float, stack: VoiceStack
) -> None:
    stack.api.gate = asyncio.Event()
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_until(lambda: len(microphone.received) / 48_000 > 0.16 + 0.5)
        assert microphone.state == "thinking"
        stack.api.gate.set()
        await microphone.wait_for_state("follow_up")
        spoken_s = len(stack.api.reply) * 0.01
        assert len(microphone.received) / 48_000 < 0.16 + recorded / 2 + spoken_s
    assert stack.voice.metric("barnabee_fillers_total", verdict="needless") == 1


@pytest.fixture
async def patient_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[VoiceStack]:
    """Wait so long for a reply that a busy machine also answers before a thinking filler."""
    monkeypatch.setattr(websocket, "MAX_AHEAD_S", MAX_AHEAD_S)
    graph = system.load_system(ROOT / "system.toml")
    talk = graph.talk.model_copy(update={"filler_after_ms": 60_000})
    async with run_voice_stack(tmp_path, graph.model_copy(update={"talk": talk})) as running:
        yield running


async def test_immediate_reply_has_no_filler(recorded: float, patient_stack: VoiceStack) -> None:
    stack = patient_stack
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_for_state("follow_up")
        spoken_s = len(stack.api.reply) * 0.01
        assert len(microphone.received) / 48_000 < 0.16 + spoken_s + 0.1, microphone.messages
        assert recorded > spoken_s
    assert stack.voice.metric("barnabee_fillers_total", verdict="right") == 1


async def test_clarifying_question_begins_with_an_uninterrupted_filler(
    recorded: float, patient_stack: VoiceStack
) -> None:
    stack = patient_stack
    stack.api.intent, stack.api.reply = "unsure", "Did you mean the light?"
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_for_state("follow_up")
        assert len(microphone.received) / 48_000 > recorded


async def test_recording_is_played_without_the_api(recorded: float, stack: VoiceStack) -> None:
    stack.api.refuse = lambda: JSONResponse({"code": "internal", "message": "no"}, 500)
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_for_state("follow_up")
        assert len(microphone.received) / 48_000 > recorded
    turns = {"outcome": "failed", "code": "dependency_down"}
    assert stack.voice.metric("barnabee_turns_total", **turns) == 1
