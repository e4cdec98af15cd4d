"""Requests of Wyoming clients over a real socket, with the library's own client."""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncIterator

import numpy as np
import pytest
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event, Eventable
from wyoming.handle import Handled
from wyoming.info import Describe, Info
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeVoice,
)
from wyoming.wake import Detect, Detection

from barnabee.core import system
from barnabee.wyoming import streams
from support.wait import wait_until
from support.wyoming import WyomingStack, read_until, run_wyoming_stack


@pytest.fixture
async def stack() -> AsyncIterator[WyomingStack]:
    async with run_wyoming_stack() as running:
        yield running


def make_audio(
    seconds: float = 0.5, rate: int = 16_000, width: int = 2, channels: int = 1
) -> list[Eventable]:
    form = {"rate": rate, "width": width, "channels": channels}
    pcm = b"\x20" * (int(seconds * rate) * width * channels)  # not silence
    return [AudioStart(**form), AudioChunk(**form, audio=pcm), AudioStop()]


def join_audio(events: list[Event]) -> bytes:
    return b"".join(AudioChunk.from_event(event).audio for event in events if event.payload)


async def test_the_programs_voices_and_wake_words_are_described(stack: WyomingStack) -> None:
    (answer,) = await stack.ask(Describe(), until="info")

    info = Info.from_event(answer)
    graph = system.load_system()
    assert [model.languages for model in info.asr[0].models] == [["en"]]
    assert info.tts[0].voices[0].name == graph.voice.name
    assert len(info.tts[0].voices) > 1
    by_description = sorted(info.tts[0].voices, key=lambda voice: str(voice.description))
    assert by_description[0].name == graph.voice.name  # which Home Assistant then chooses
    assert info.tts[0].supports_synthesize_streaming
    assert [model.name for model in info.wake[0].models] == graph.wake.words
    assert info.handle[0].supports_home_control


@pytest.mark.parametrize(
    ("rate", "width", "channels"), [(16_000, 2, 1), (44_100, 2, 2), (8_000, 1, 1), (48_000, 4, 1)]
)
async def test_speech_in_any_format_is_transcribed(
    stack: WyomingStack, rate: int, width: int, channels: int
) -> None:
    audio = make_audio(0.5, rate, width, channels)

    answer = (await stack.ask(Transcribe(language="en"), *audio, until="transcript"))[-1]

    assert Transcript.from_event(answer).text == stack.transcriber.text
    assert stack.transcriber.transcribed == [(pytest.approx(0.5, abs=0.001), "en")]


async def test_a_connection_transcribes_one_utterance_after_another(stack: WyomingStack) -> None:
    async with stack.connect() as client:
        for seconds in (0.3, 1.0):
            for message in (Transcribe(), *make_audio(seconds)):
                await client.write_event(message.event())
            assert (await read_until(client, "transcript"))[-1].type == "transcript"
            assert stack.transcriber.transcribed[-1][0] == pytest.approx(seconds, abs=0.001)


async def test_text_is_spoken_in_small_chunks(stack: WyomingStack) -> None:
    first, *chunks, last = await stack.ask(
        Synthesize(text="The kitchen light is on."), until="audio-stop"
    )

    form = AudioStart.from_event(first)
    assert (form.rate, form.width, form.channels) == (24_000, 2, 1)
    assert last.type == "audio-stop"
    assert len(chunks) > 1
    assert all(0 < len(chunk.payload or b"") <= streams.CHUNK_BYTES for chunk in chunks)
    stamps = [AudioChunk.from_event(chunk).timestamp for chunk in chunks]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == len(stamps)


async def test_streamed_text_is_spoken_sentence_by_sentence(stack: WyomingStack) -> None:
    text = "The first sentence. The second one is longer. "
    whole = await stack.ask(Synthesize(text="The first sentence."), until="audio-stop")
    async with stack.connect() as client:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk(text=text[:22]).event())
        early = [await client.read_event() for _ in range(len(whole) - 1)]
        assert join_audio([event for event in early if event]) == join_audio(whole)

        await client.write_event(SynthesizeChunk(text=text[22:]).event())
        await client.write_event(Synthesize(text=text).event())  # for servers that do not stream
        await client.write_event(SynthesizeStop().event())
        rest = await read_until(client, "synthesize-stopped")

    kinds = [event.type for event in rest]
    assert kinds[-2:] == ["audio-stop", "synthesize-stopped"]
    assert kinds.count("audio-start") == 0
    second = await stack.ask(Synthesize(text="The second one is longer."), until="audio-stop")
    assert join_audio(rest) == join_audio(second)


async def test_an_unknown_voice_is_refused_by_name(stack: WyomingStack) -> None:
    (answer,) = await stack.ask(
        Synthesize(text="Hello.", voice=SynthesizeVoice(name="nobody")), until="audio-stop"
    )

    assert (answer.type, answer.data["code"]) == ("error", "bad_request")
    assert "voice" in answer.data["text"]


async def test_a_sentence_is_a_command_of_its_conversation(stack: WyomingStack) -> None:
    context = {"conversation_id": "c1", "device_id": "0af7651916cd43dd"}
    sentence = Transcript("turn on the kitchen light", context=context)

    (answer,) = await stack.ask(sentence, until="handled")

    assert Handled.from_event(answer).text == stack.api.reply
    command = stack.api.commands[-1]
    assert (command["utterance"], command["session_id"]) == ("turn on the kitchen light", "c1")
    assert command["room"] == "0af7651916cd43dd"


async def test_each_connection_is_a_conversation_of_its_own(stack: WyomingStack) -> None:
    for _ in range(2):
        await stack.ask(Transcript("what time is it"), until="handled")
    sessions = {command["session_id"] for command in stack.api.commands}
    assert len(sessions) == 2


async def test_a_wake_word_is_reported_at_its_time(stack: WyomingStack) -> None:
    async with stack.connect() as client:
        await client.write_event(Detect(names=["hey_jarvis"]).event())
        await client.write_event(AudioStart(16_000, 2, 1).event())
        stamp = 5_000
        for audio in (np.zeros(1280, np.int16), stack.wake.make_frame("hey_jarvis")):
            chunk = AudioChunk(16_000, 2, 1, audio.tobytes(), timestamp=stamp)
            await client.write_event(chunk.event())
            stamp += 80
        detection = Detection.from_event((await read_until(client, "detection"))[-1])

    assert detection.name == "hey_jarvis"
    assert detection.timestamp is not None
    assert 5_000 < detection.timestamp <= 5_200


async def test_audio_without_a_wake_word_is_not_detected(stack: WyomingStack) -> None:
    async with stack.connect() as client:
        await client.write_event(Detect().event())
        frames = stack.wake.frame_count
        await client.write_event(AudioChunk(16_000, 2, 1, bytes(2560)).event())
        await wait_until(lambda: stack.wake.frame_count > frames)
        await client.write_event(AudioStop().event())
        assert (await read_until(client, "not-detected"))[-1].type == "not-detected"


async def test_wake_words_need_the_format_of_a_microphone(stack: WyomingStack) -> None:
    answers = await stack.ask(Detect(), AudioStart(44_100, 2, 2), until="detection")
    assert answers[-1].data["code"] == "bad_request"
    assert "16000 Hz" in answers[-1].data["text"]


async def test_a_request_that_fails_is_counted_and_ends_the_connection(stack: WyomingStack) -> None:
    async with stack.connect() as client:
        for message in (Transcribe(language="xx"), *make_audio()):
            await client.write_event(message.event())
        (failed,) = await read_until(client, "transcript")
        assert failed.type == "error"
        assert "language" in failed.data["text"]
        assert await client.read_event() is None
    series = stack.metrics.registry.get_sample_value(
        "barnabee_request_duration_seconds_count",
        {"component": "wyoming", "method": "WYOMING", "route": "transcribe", "status": "400"},
    )
    assert series == 1


def test_the_recorded_audio_is_a_whole_number_of_frames() -> None:
    utterance = streams.Utterance(30, "en")
    utterance.start(AudioStart(16_000, 2, 2))
    utterance._pcm += b"1234567"
    with wave.open(io.BytesIO(utterance.to_wav())) as file:
        assert (file.getnframes(), file.getnchannels()) == (1, 2)
