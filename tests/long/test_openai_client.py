"""The official `openai` client with the real service and the real models."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from barnabee.audio import wav
from barnabee.audio.samples import to_pcm16
from support.audio import FORMATS, encode_audio
from support.gpu import MODEL_FOLDERS, TOKEN, GpuProcess

QUESTION = Path(__file__).parents[1] / "audio" / "what_time_af_heart.wav"
QUESTION_TEXT = "what time is it"


@pytest.fixture(scope="module")
def client(gpu: GpuProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gpu.url}/v1", api_key=TOKEN, max_retries=0, timeout=120)


def words(text: str) -> str:
    return re.sub(r"[^a-z ]", "", text.lower()).strip()


def samples() -> Any:
    found = wav.decode(wav.parse(QUESTION.read_bytes(), max_s=60), 24_000)
    return np.frombuffer(to_pcm16(found), "<i2")


# ---- transcription ----


def test_a_recording_is_transcribed_as_json(client: openai.OpenAI) -> None:
    with QUESTION.open("rb") as file:
        result = client.audio.transcriptions.create(model="whisper-1", file=file)
    assert words(result.text) == QUESTION_TEXT


def test_a_recording_is_transcribed_as_plain_text(client: openai.OpenAI) -> None:
    result = client.audio.transcriptions.create(
        model="gpt-4o-mini-transcribe", file=QUESTION, response_format="text"
    )
    assert words(str(result)) == QUESTION_TEXT


def test_verbose_json_has_segments_and_words_with_their_times(client: openai.OpenAI) -> None:
    result = client.audio.transcriptions.create(
        model="whisper-1",
        file=QUESTION,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert result.duration > 0.5
    assert result.language == "en"
    assert result.segments
    assert words(result.segments[0].text) == QUESTION_TEXT
    assert result.words
    assert [words(one.word) for one in result.words] == QUESTION_TEXT.split()
    times = [time for one in result.words for time in (one.start, one.end)]
    assert times == sorted(times)


def test_other_parameters_of_a_transcription_are_accepted(
    client: openai.OpenAI,
) -> None:
    result = client.audio.transcriptions.create(
        model="whisper-1",
        file=QUESTION,
        language="en",
        prompt="A question about the time.",
        temperature=0.2,
        include=["logprobs"],
        chunking_strategy="auto",
        extra_body={"user": "someone", "unknown": 1},
    )
    assert words(result.text) == QUESTION_TEXT


@pytest.mark.parametrize("form", FORMATS)
def test_recordings_in_other_containers_are_transcribed(client: openai.OpenAI, form: str) -> None:
    content = encode_audio(form, samples(), 24_000)
    result = client.audio.transcriptions.create(model="whisper-1", file=(f"a.{form}", content))
    assert words(result.text) == QUESTION_TEXT


def test_a_streamed_transcription_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="field `stream`"):
        client.audio.transcriptions.create(model="whisper-1", file=QUESTION, stream=True)


# ---- speech ----


@pytest.mark.parametrize("form", ["mp3", "opus", "aac", "flac", "wav"])
def test_speech_in_every_format_is_transcribed_word_for_word(
    client: openai.OpenAI, form: Any
) -> None:
    speech = client.audio.speech.create(
        model="tts-1", voice="barnabee", input="What time is it?", response_format=form
    )
    result = client.audio.transcriptions.create(
        model="whisper-1", file=(f"a.{form}", speech.content)
    )
    assert words(result.text) == QUESTION_TEXT


def test_the_default_format_is_mp3(client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "speech.mp3"
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts",
        voice="alloy",
        input="What time is it?",
        instructions="Cheerful.",
        stream_format="audio",
        extra_body={"user": "someone", "unknown": {}},
    ) as response:
        assert response.headers["content-type"] == "audio/mpeg"
        response.stream_to_file(path)
    assert (
        words(client.audio.transcriptions.create(model="whisper-1", file=path).text)
        == QUESTION_TEXT
    )


def test_speech_is_streamed_as_pcm(client: openai.OpenAI) -> None:
    text = "The kitchen light is on, and the lamp in the bedroom is off. All doors are locked."
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="af_heart", input=text, response_format="pcm"
    ) as response:
        pieces = [len(piece) for piece in response.iter_bytes()]
    assert len(pieces) > 1
    assert sum(pieces) / 48_000 > 3


def test_openai_voices_are_voices_of_that_name_or_the_default_voice(client: openai.OpenAI) -> None:
    def synthesize(voice: Any) -> bytes:
        speech = client.audio.speech.create(
            model="tts-1", voice=voice, input="Yes.", response_format="pcm"
        )
        content: bytes = speech.content
        return content

    assert synthesize("nova") == synthesize({"id": "af_nova"})
    assert synthesize("cedar") == synthesize("barnabee") != synthesize("nova")
    with pytest.raises(openai.BadRequestError, match="field `voice`"):
        synthesize("hal")


def test_unsupported_speech_parameters_are_refused(client: openai.OpenAI) -> None:
    speak = client.audio.speech.create
    with pytest.raises(openai.BadRequestError, match="stream_format"):
        speak(model="tts-1", voice="alloy", input="Yes.", stream_format="sse")
    with pytest.raises(openai.BadRequestError, match="speed"):
        speak(model="tts-1", voice="alloy", input="Yes.", speed=4.0)
    with pytest.raises(openai.BadRequestError, match="response_format"):
        speak(model="tts-1", voice="alloy", input="Yes.", response_format="midi")  # type: ignore[arg-type]


# ---- embeddings ----


def test_vectors_are_equal_as_floats_and_as_base64(
    client: openai.OpenAI,
) -> None:
    texts = ["turn on the light", "what time is it"]
    model = "text-embedding-3-small"
    packed_rows = client.embeddings.create(model=model, input=texts, user="someone")
    rows = client.embeddings.create(model=model, input=texts, encoding_format="float")
    assert packed_rows.usage.total_tokens > 0
    for one, other in zip(packed_rows.data, rows.data, strict=True):
        np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-6)
        assert math.hypot(*one.embedding) == pytest.approx(1, abs=1e-4)


def test_other_dimensions_are_refused(client: openai.OpenAI) -> None:
    embed = client.embeddings.create
    assert len(embed(model="embeddings", input="a", dimensions=384).data[0].embedding) == 384
    with pytest.raises(openai.BadRequestError, match="this model has 384"):
        embed(model="embeddings", input="a", dimensions=256)


# ---- models and errors ----


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert set(MODEL_FOLDERS) <= set(listed)
    assert client.models.retrieve("whisper-base").owned_by == "barnabee"
    with pytest.raises(openai.NotFoundError, match="gpt-4"):
        client.models.retrieve("gpt-4")


def test_errors_have_our_code_and_message(client: openai.OpenAI, gpu: GpuProcess) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"no sound"))
    assert refused.value.code == "invalid_audio"
    assert "format is unknown" in refused.value.message
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["trace_id"]
    with pytest.raises(openai.APIStatusError, match="4000 characters") as large:
        client.audio.speech.create(model="tts-1", voice="alloy", input="a" * 4001)
    assert large.value.status_code == 413
    stranger = openai.OpenAI(base_url=f"{gpu.url}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="Authentication required"):
        stranger.models.list()


async def test_the_asynchronous_client_works(gpu: GpuProcess) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gpu.url}/v1", api_key=TOKEN) as client:
        result = await client.audio.transcriptions.create(
            model="whisper-1", file=("a.wav", io.BytesIO(QUESTION.read_bytes()))
        )
        assert words(result.text) == QUESTION_TEXT
