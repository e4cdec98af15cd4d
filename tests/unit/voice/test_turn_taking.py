"""End of turn, resumption and barge-in: the real pipeline and VAD, scripted verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from barnabee.audio.samples import Samples
from barnabee.core import system
from barnabee.core.schema import System
from barnabee.gpu.engines.base import Segment
from barnabee.voice import fillers
from barnabee.voice.transports import websocket
from barnabee.voice.vad import TurnAnalyzer, VadEvent, VoiceActivityDetector
from support.fake_engines import FakeTranscriber, JobGate
from support.voice import ROOT, Microphone, load_recording, make_silence
from support.voice_stack import MAX_AHEAD_S, VoiceStack, open_woken_microphone, run_voice_stack

LIGHT = load_recording("kitchen_light_af_heart")
LIGHT_S = len(LIGHT) / 16_000
NEVER_MS = 600_000
TONE_S = 4.0


@dataclass
class GatedTranscriber(FakeTranscriber):
    """Fake transcriber that waits until its gate is opened."""

    gate: JobGate = field(default_factory=JobGate)

    def transcribe(
        self, samples: Samples, *, language: str, words: bool = False
    ) -> Iterator[Segment]:
        self.gate.wait_until_open()
        yield from super().transcribe(samples, language=language, words=words)


@dataclass
class FakeTurnAnalyzer:
    """Scripted replacement for smart-turn."""

    is_complete: bool = True

    async def is_turn_complete(self, _pcm: bytes) -> bool:
        return self.is_complete


@pytest.fixture(autouse=True)
def allow_fast_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MAX_AHEAD_S", MAX_AHEAD_S)


@pytest.fixture
def analyzer(monkeypatch: pytest.MonkeyPatch) -> FakeTurnAnalyzer:
    fake = FakeTurnAnalyzer()
    monkeypatch.setattr(TurnAnalyzer, "is_turn_complete", fake.is_turn_complete)
    return fake


@pytest.fixture
def transcriber() -> GatedTranscriber:
    return GatedTranscriber()


def make_patient_system() -> System:
    """Return a system in which only the transcript ends a turn that sounds incomplete."""
    graph = system.load_system(ROOT / "system.toml")
    return graph.model_copy(update={"talk": graph.talk.model_copy(update={"wait_ms": NEVER_MS})})


@pytest.fixture
async def stack(
    tmp_path: Path, analyzer: FakeTurnAnalyzer, transcriber: GatedTranscriber
) -> AsyncIterator[VoiceStack]:
    async with run_voice_stack(tmp_path, make_patient_system(), transcriber) as running:
        yield running
    transcriber.gate.opened.set()


def states(microphone: Microphone) -> list[str]:
    return [message["state"] for message in microphone.get_messages("state")]


async def wait_for_end_of_turn(microphone: Microphone) -> None:
    await microphone.send_audio(LIGHT, make_silence(0.4))
    await microphone.wait_for_state("thinking")


async def test_complete_transcript_ends_a_turn_that_sounds_incomplete(
    stack: VoiceStack, analyzer: FakeTurnAnalyzer, transcriber: GatedTranscriber
) -> None:
    analyzer.is_complete, transcriber.text = False, "Turn on the kitchen light."
    transcriber.gate.opened.set()
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_for_state("follow_up")
    assert stack.api.commands[0]["utterance"] == transcriber.text
    silent_s = stack.voice.metric("barnabee_stage_seconds_sum", stage="vad")
    assert silent_s >= system.load_system(ROOT / "system.toml").talk.whole_ms / 1000
    assert len(transcriber.transcribed) == 1  # the speculative transcript is used


async def test_incomplete_transcript_waits_for_the_rest(
    stack: VoiceStack, analyzer: FakeTurnAnalyzer, transcriber: GatedTranscriber
) -> None:
    analyzer.is_complete, transcriber.text = False, "Turn on the"
    transcriber.gate.opened.set()
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_until(lambda: len(transcriber.transcribed) == 1)
        assert microphone.state == "hearing"
        analyzer.is_complete, transcriber.text = True, "Turn on the kitchen light."
        await microphone.send_audio(LIGHT, make_silence(0.4))
        await microphone.wait_until(lambda: bool(microphone.get_messages("reply")))
    assert [command["utterance"] for command in stack.api.commands] == [transcriber.text]
    assert transcriber.transcribed[-1][0] > 2 * LIGHT_S


async def test_speech_before_the_transcript_continues_the_utterance(
    stack: VoiceStack, transcriber: GatedTranscriber
) -> None:
    async with open_woken_microphone(stack) as microphone:
        await wait_for_end_of_turn(microphone)
        await microphone.send_audio(LIGHT, make_silence(0.4))
        await microphone.wait_until(
            lambda: states(microphone)[-3:] == ["thinking", "hearing", "thinking"]
        )
        transcriber.gate.opened.set()
        await microphone.wait_for_state("follow_up")
        turns = {
            message["turn"]
            for message in microphone.get_messages("state")
            if message["state"] == "thinking"
        }
        assert len(turns) == 1
        assert len(microphone.get_messages("transcript")) == 1
    assert len(stack.api.commands) == 1
    assert transcriber.transcribed[-1][0] > 2 * LIGHT_S
    assert stack.voice.metric("barnabee_turns_total", outcome="answered", code="") == 1


async def test_speech_after_the_transcript_begins_the_next_turn(
    stack: VoiceStack, transcriber: GatedTranscriber
) -> None:
    """What is said while the assistant thinks is heard; the command before it was carried out."""
    stack.api.gate = asyncio.Event()
    transcriber.gate.opened.set()
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(0.4))
        await microphone.wait_until(lambda: bool(stack.api.commands))
        await microphone.send_audio(LIGHT, make_silence(0.4))
        await microphone.wait_until(lambda: len(microphone.get_messages("transcript")) > 1)
        assert states(microphone)[-3:] == ["thinking", "hearing", "thinking"]
        assert not microphone.get_messages("reply")
        stack.api.gate.set()
        await microphone.wait_until(lambda: bool(microphone.get_messages("reply")))
    traces = [message["trace_id"] for message in microphone.get_messages("transcript")]
    assert stack.api.traces == traces
    assert len(set(traces)) == len(traces)
    assert microphone.get_messages("reply")[0]["trace_id"] == traces[1]
    assert transcriber.transcribed[-1][0] < 2 * LIGHT_S


async def test_barge_in_begins_a_turn_instead_of_resuming_one(
    stack: VoiceStack, transcriber: GatedTranscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.api.reply = "One, two, three, four, five, six. " * 12
    events: list[VadEvent | None] = []

    def process_window(
        detector: VoiceActivityDetector, permille: float, *, is_assistant_speaking: bool = False
    ) -> VadEvent | None:
        event = original(detector, permille, is_assistant_speaking=is_assistant_speaking)
        if is_assistant_speaking:
            events.append(event)
        return event

    original = VoiceActivityDetector.process_window
    monkeypatch.setattr(VoiceActivityDetector, "process_window", process_window)
    transcriber.gate.opened.set()
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(0.4))
        await microphone.wait_for_state("speaking")
        await microphone.send_audio(make_silence(0.2), LIGHT)
        await microphone.wait_until(lambda: bool(microphone.get_messages("heard")))
    assert [event for event in events if event][-2:] == [
        VadEvent.POSSIBLE_SPEECH,
        VadEvent.SPEECH_STARTED,
    ]
    assert VadEvent.SPEECH_RESUMED not in events


async def test_click_while_thinking_discards_nothing(
    stack: VoiceStack, transcriber: GatedTranscriber
) -> None:
    click = (np.hanning(800) * 12_000).astype(np.int16)
    async with open_woken_microphone(stack) as microphone:
        await wait_for_end_of_turn(microphone)
        await microphone.send_audio(make_silence(0.1), click, make_silence(0.4))
        assert microphone.state == "thinking"
        transcriber.gate.opened.set()
        await microphone.wait_for_state("follow_up")
    assert states(microphone).count("hearing") == 1


async def test_filler_stops_when_the_user_resumes(
    tmp_path: Path, analyzer: FakeTurnAnalyzer, transcriber: GatedTranscriber
) -> None:
    def tone(_phrase: str) -> Samples:
        angle = 2 * np.pi * 330 * np.arange(int(24_000 * TONE_S)) / 24_000
        return (0.3 * np.sin(angle)).astype(np.float32)

    fillers.generate_recordings(
        make_patient_system(), fillers.PhraseSynthesizer(tone, {}, 24_000), tmp_path / "fillers"
    )
    assert analyzer.is_complete
    async with (
        run_voice_stack(tmp_path, make_patient_system(), transcriber) as stack,
        open_woken_microphone(stack) as microphone,
    ):
        await wait_for_end_of_turn(microphone)
        await microphone.wait_until(lambda: len(microphone.received) / 48_000 > 0.16 + 0.3)
        speaking = asyncio.create_task(microphone.send_audio(LIGHT[:16_000], make_silence(0.4)))
        await microphone.wait_until(lambda: bool(microphone.get_messages("stop")))
        received = len(microphone.received)
        await microphone.wait_until(
            lambda: states(microphone)[-3:] == ["thinking", "hearing", "thinking"]
        )
        assert len(microphone.received) - received < TONE_S * 48_000 / 2
        await speaking
        transcriber.gate.opened.set()
        await microphone.wait_for_state("follow_up")
    assert len(stack.api.commands) == 1
