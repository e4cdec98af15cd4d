"""Inference service as a process with the real models."""

from __future__ import annotations

import asyncio
import random
import re
import time
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from barnabee.audio import wav
from barnabee.audio.samples import resample, to_pcm16
from barnabee.clients.gpu import GpuClient
from barnabee.core import tracing
from barnabee.core.errors import BadInput
from support.gpu import MODEL_FOLDERS, TOKEN, GpuProcess, synthesize

AUDIO = Path(__file__).parents[1] / "audio"
LONG = (
    "Good morning. The heating is set to twenty degrees, and the front door is locked. "
    "It will rain in the afternoon, so take an umbrella with you."
)
SPOKEN = {
    "kitchen_light": "turn on the kitchen light",
    "what_time": "what time is it",
    "what_can_you_do": "what can you do",
}


def words(text: str) -> str:
    return re.sub(r"[^a-z ]", "", text.lower()).strip()


def transcribe(client: httpx.Client, content: bytes) -> httpx.Response:
    files, form = {"file": ("a.wav", content)}, {"model": "whisper"}
    return client.post("/v1/audio/transcriptions", files=files, data=form)


# ---- requests ----


def test_synthesized_speech_is_transcribed_word_for_word(http: httpx.Client) -> None:
    sentence = "The garage door is open, and the lamp in the bedroom is still on."
    result = transcribe(http, synthesize(http, sentence)).json()["text"]
    assert words(result) == words(sentence)


@pytest.mark.parametrize("path", sorted(AUDIO.glob("*.wav")), ids=lambda path: path.stem)
def test_the_committed_recordings_are_transcribed(http: httpx.Client, path: Path) -> None:
    name = path.stem.rsplit("_", 2)[0]
    assert words(transcribe(http, path.read_bytes()).json()["text"]) == SPOKEN[name]


def test_there_are_recordings() -> None:
    assert len(list(AUDIO.glob("*.wav"))) == len(SPOKEN) * 2


def test_8_khz_and_stereo_are_transcribed(http: httpx.Client) -> None:
    sound = wav.parse((AUDIO / "kitchen_light_af_heart.wav").read_bytes(), max_s=60)
    samples = resample(wav.decode(sound, 16_000), 16_000, 8_000)
    narrow = to_pcm16(samples)
    both = np.repeat(np.frombuffer(narrow, "<i2"), 2).tobytes()
    stereo = bytearray(wav.make_header(8_000, len(both)))
    stereo[22:24] = b"\2\0"
    for content in (wav.make_header(8_000, len(narrow)) + narrow, bytes(stereo) + both):
        assert words(transcribe(http, content).json()["text"]) == "turn on the kitchen light"


def test_similar_texts_have_similar_vectors(http: httpx.Client) -> None:
    texts = ["turn on the lights", "switch the lamp on", "what is the weather tomorrow"]
    body = {"model": "embeddings", "input": texts}
    rows = http.post("/v1/embeddings", json=body).json()["data"]
    vectors = np.array([row["embedding"] for row in rows], np.float32)
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    lamp, weather = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert lamp > weather + 0.2


def test_a_text_has_the_same_vector_alone_and_in_a_batch(http: httpx.Client) -> None:
    texts = ["turn on the lights", "a much longer text about the weather of the coming week, " * 8]
    many = http.post("/v1/embeddings", json={"model": "embeddings", "input": texts}).json()
    alone = http.post("/v1/embeddings", json={"model": "embeddings", "input": texts[0]}).json()
    first, again = (np.array(found["data"][0]["embedding"]) for found in (many, alone))
    assert first @ again > 0.99999


def test_the_first_chunk_of_a_long_text_arrives_early(http: httpx.Client) -> None:
    body = {"model": "kokoro", "input": LONG, "response_format": "pcm"}
    begun = time.monotonic()
    first_s, received = None, 0
    with http.stream("POST", "/v1/audio/speech", json=body) as response:
        for chunk in response.iter_bytes():
            first_s = first_s or time.monotonic() - begun
            received += len(chunk)
    whole_s = time.monotonic() - begun
    assert received / 2 / 24_000 > 6
    assert first_s is not None
    assert first_s < whole_s * 0.4


def test_the_official_openai_client_works(gpu: GpuProcess) -> None:
    client = openai.OpenAI(base_url=f"{gpu.url}/v1", api_key=TOKEN, max_retries=0)
    speech = client.audio.speech.create(
        model="tts-1", voice="barnabee", input="What time is it?", response_format="wav"
    )
    result = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", speech.content))
    assert words(result.text) == "what time is it"
    verbose = client.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", speech.content), response_format="verbose_json"
    )
    assert verbose.segments
    assert verbose.duration > 0.5
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="af_heart", input="Yes.", response_format="pcm"
    ) as stream:
        assert sum(map(len, stream.iter_bytes())) > 4_000
    found = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert [len(row.embedding) for row in found.data] == [384, 384]
    assert found.usage.total_tokens > 0
    assert [model.id for model in client.models.list()] == list(MODEL_FOLDERS)
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.embeddings.create(model="text-embedding-3-small", input="")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{gpu.url}/v1", api_key="wrong", max_retries=0).models.list()


async def test_our_client_synthesizes_transcribes_and_embeds(gpu: GpuProcess) -> None:
    client = GpuClient(gpu.url, TOKEN, timeout_s=60)
    trace_id = tracing.adopt_trace_id(None)
    try:
        assert await client.ready() is None
        sound = b"".join([chunk async for chunk in client.speak("What can you do?")])
        result = await client.transcribe(wav.set_length(sound))
        assert words(result.text) == "what can you do"
        assert result.engine == "whisper-base"
        assert result.duration_s == pytest.approx(len(sound) / 48_000, abs=0.01)
        vectors = await client.embed(["lights", "lamps"])
        assert (vectors.shape, vectors.dtype) == ((2, 384), np.float32)
        with pytest.raises(BadInput, match="format is unknown"):
            await client.transcribe(b"no sound at all")
    finally:
        await client.aclose()
    lines = [line for line in gpu.log() if line.get("trace_id") == trace_id]
    inferences = {line["stage"]: line for line in lines if line["event"] == "inference"}
    assert set(inferences) == {"tts", "stt", "embed"}
    assert all(float(str(line["latency_ms"])) > 0 for line in inferences.values())
    assert "what can you do" not in str(lines).lower()


# ---- invalid requests ----


def test_invalid_audio_is_refused_and_the_service_stays_healthy(http: httpx.Client) -> None:
    quiet = wav.make_header(16_000)
    assert transcribe(http, b"").status_code == 400
    assert transcribe(http, b"plain text").status_code == 400
    assert transcribe(http, quiet).status_code == 400
    assert transcribe(http, quiet + bytes(600 * 32_000)).status_code == 413
    assert transcribe(http, quiet + bytes(32_000)).json()["text"] == ""
    assert transcribe(http, quiet + b"\x01").status_code == 400
    assert http.get("/health/ready").json()["status"] == "healthy"


def test_random_bytes_as_audio_leave_the_service_healthy(http: httpx.Client) -> None:
    rng = random.Random(7)  # noqa: S311 - repeatable noise
    for round_number in range(32):
        content = rng.randbytes(rng.randrange(0, 3000))
        if round_number % 2:
            content = b"RIFF" + rng.randbytes(4) + b"WAVEfmt \x10\0\0\0" + content
        if round_number % 15 == 3:  # a valid header, so that the engine gets the noise
            content = wav.make_header(16_000) + content
        assert transcribe(http, content).status_code in {200, 400, 413}
    assert http.get("/health/ready").json()["status"] == "healthy"


async def test_concurrent_requests_are_all_answered(gpu: GpuProcess) -> None:
    client = GpuClient(gpu.url, TOKEN, timeout_s=120)
    question = (AUDIO / "what_time_af_heart.wav").read_bytes()
    try:
        result, *vectors = await asyncio.gather(
            client.transcribe(question), *(client.embed([f"text {n}"]) for n in range(20))
        )
    finally:
        await client.aclose()
    assert words(result.text) == "what time is it"
    assert len(vectors) == 20


def test_inference_is_counted_in_the_metrics(http: httpx.Client) -> None:
    text = http.get("/metrics").text
    for task, engine in zip(("stt", "tts", "embed"), MODEL_FOLDERS[:3], strict=True):
        series = f'barnabee_inference_seconds_count{{engine="{engine}",task="{task}"}}'
        found = re.search(rf"{re.escape(series)} (\S+)", text)
        assert found, series
        assert float(found[1]) > 0
    assert "barnabee_inference_real_time_factor_bucket" in text
