"""A wake word counts only if STT reads something like it in its audio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from barnabee.audio.samples import Samples
from barnabee.core.errors import BadRequest
from barnabee.gpu.engines.base import Segment
from barnabee.voice.transports import websocket
from support.fake_engines import FakeTranscriber
from support.voice import load_recording, make_silence
from support.voice_stack import MAX_AHEAD_S, VoiceStack, open_woken_microphone, run_voice_stack
from support.wait import wait_until

LIGHT = load_recording("kitchen_light_af_heart")
NAMES = ["kitchen light", "Emma's lamp"]


@dataclass
class WakeTranscriber(FakeTranscriber):
    """Reads `wake_text` in the audio of a wake word, which is sent without names; "" is refused."""

    wake_text: str = "Hey Jarvis."

    def transcribe(
        self, samples: Samples, *, language: str | None, prompt: str = "", words: bool = False
    ) -> Iterator[Segment]:
        found = super().transcribe(samples, language=language, prompt=prompt, words=words)
        if prompt:
            yield from found
            return
        list(found)
        if not self.wake_text:
            raise BadRequest(field="file", reason="the engine refuses it")
        yield Segment(0.0, 1.0, self.wake_text, -0.1, 0.01)


@asynccontextmanager
async def run_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wake_text: str
) -> AsyncIterator[VoiceStack]:
    monkeypatch.setattr(websocket, "MAX_AHEAD_S", MAX_AHEAD_S)
    transcriber = WakeTranscriber(wake_text=wake_text)
    async with run_voice_stack(tmp_path, transcriber=transcriber, confirm_wake=True) as stack:
        stack.api.names = NAMES
        yield stack


@pytest.mark.parametrize("wake_text", ["Hey Jarvis.", ""])
async def test_command_is_carried_out_after_a_wake_word_or_without_its_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wake_text: str
) -> None:
    async with (
        run_stack(tmp_path, monkeypatch, wake_text) as stack,
        open_woken_microphone(stack) as microphone,
    ):
        await microphone.send_audio(make_silence(0.5), LIGHT, make_silence(2.5))
        await microphone.wait_for_state("follow_up")
        assert [command["utterance"] for command in stack.api.commands] == [
            "turn on the kitchen light"
        ]
        assert stack.transcriber.prompts[-1] == "Kitchen light. Emma's lamp."
        assert not stack.count_false_wakes()


async def test_near_name_puts_the_room_to_sleep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        run_stack(tmp_path, monkeypatch, "Hey Travis.") as stack,
        open_woken_microphone(stack) as microphone,
    ):
        await microphone.send_audio(make_silence(0.5), LIGHT, make_silence(2.5))
        await microphone.wait_for_state("asleep")
        assert not stack.api.commands
        assert not microphone.get_messages("reply")
        await wait_until(lambda: stack.count_false_wakes() == 1)


async def test_button_needs_no_wake_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_stack(tmp_path, monkeypatch, "Hey Travis.") as stack:
        async with stack.voice.talk() as microphone:
            await microphone.send_message(type="talk", on=True)
            await microphone.wait_for_state("listening")
            await microphone.send_audio(LIGHT, make_silence(0.5))
            await microphone.send_message(type="talk", on=False)
            await microphone.wait_for_state("follow_up")
        assert len(stack.api.commands) == 1
