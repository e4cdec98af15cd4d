from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence

import httpx
import numpy as np
import pytest

from barnabee.audio import wav
from barnabee.audio.samples import Samples, to_pcm16
from barnabee.core.errors import ModelDamaged
from barnabee.gpu.engines.base import Embeddings, Segment
from support.fake_engines import FakeEmbedder, FakeSynthesizer, FakeTranscriber, JobGate
from support.gpu_app import RunningService, ServiceStarter
from support.media import FOLDER as MEDIA_FOLDER
from support.wait import wait_until


def make_wav(seconds: float = 1.0, rate_hz: int = 16_000) -> bytes:
    samples = 0.3 * np.sin(2 * np.pi * 300 * np.arange(int(seconds * rate_hz)) / rate_hz)
    return wav.encode(to_pcm16(samples.astype(np.float32)), rate_hz)


async def transcribe(service: RunningService, content: bytes, **form: str) -> httpx.Response:
    form = {"model": "whisper-1", **form}
    files = {"file": ("a.wav", content)}
    return await service.client.post("/v1/audio/transcriptions", data=form, files=files)


async def speak(service: RunningService, **body: object) -> httpx.Response:
    body = {"model": "tts-1", "input": "Hello there.", "response_format": "wav", **body}
    return await service.client.post("/v1/audio/speech", json=body)


async def embed(service: RunningService, **body: object) -> httpx.Response:
    body = {"model": "embeddings", "input": "hello", **body}
    return await service.client.post("/v1/embeddings", json=body)


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()
    assert body["trace_id"]
    return response.status_code, body["code"], body["message"]


# ---- transcription ----


async def test_transcription_in_each_response_format(start: ServiceStarter) -> None:
    service = await start()
    plain = await transcribe(service, make_wav(1.5))
    assert plain.json() == {
        "text": "turn on the kitchen light",
        "language": "en",
        "duration": 1.5,
        "engine": "whisper-base",
        "degraded": False,
        "confidence": 0.9048,
    }
    text = await transcribe(service, make_wav(), response_format="text")
    assert text.text == "turn on the kitchen light\n"
    verbose = (await transcribe(service, make_wav(2.0), response_format="verbose_json")).json()
    (segment,) = verbose["segments"]
    assert (segment["start"], segment["end"]) == (0.0, 2.0)


async def test_audio_reaches_the_engine_as_16_khz_mono(start: ServiceStarter) -> None:
    ears = FakeTranscriber()
    service = await start(stt=lambda: ears)
    assert (await transcribe(service, make_wav(2.0, 8_000))).status_code == 200
    stereo = bytearray(make_wav(1.0))
    stereo[22:24] = b"\2\0"  # the same bytes as two channels
    assert (await transcribe(service, bytes(stereo))).status_code == 200
    assert ears.transcribed == [(2.0, "en"), (0.5, "en")]


@pytest.mark.parametrize(
    ("content", "status", "code", "words"),
    [
        (b"this is no audio", 400, "invalid_audio", "format is unknown"),
        (b"", 400, "invalid_audio", "format is unknown"),
        (make_wav(0), 400, "invalid_audio", "0 s"),
        (make_wav(601, 4_000), 413, "too_large", "300 s"),
    ],
)
async def test_invalid_audio_is_refused(
    start: ServiceStarter, content: bytes, status: int, code: str, words: str
) -> None:
    service = await start()
    got = refusal(await transcribe(service, content))
    assert got[:2] == (status, code)
    assert words in got[2]


async def test_invalid_transcription_fields_are_refused(start: ServiceStarter) -> None:
    service = await start()
    assert refusal(await transcribe(service, make_wav(), language="xx"))[1] == "bad_request"
    assert refusal(await transcribe(service, make_wav(), response_format="srt"))[1] == "bad_request"
    assert refusal(await transcribe(service, make_wav(), model="tts-1"))[:2] == (404, "not_found")
    nothing = await service.client.post("/v1/audio/transcriptions", data={"model": "whisper-1"})
    assert refusal(nothing)[1] == "bad_request"


async def test_upload_over_the_size_limit_is_refused(start: ServiceStarter) -> None:
    service = await start()
    assert refusal(await transcribe(service, bytes(33 * 1024 * 1024)))[:2] == (413, "too_large")


async def test_fallback_engine_transcribes_and_reports_degraded(start: ServiceStarter) -> None:
    def damaged() -> FakeTranscriber:
        raise ModelDamaged(path="/models/parakeet/encoder.onnx", reason="too short")

    service = await start(stt=damaged, fallback=FakeTranscriber)
    response = await transcribe(service, make_wav())
    assert (response.status_code, response.json()["text"]) == (200, "turn on the kitchen light")
    assert (response.json()["engine"], response.json()["degraded"]) == ("whisper-base", True)
    ready = (await service.client.get("/health/ready")).json()
    assert ready["status"] == "degraded"
    assert "whisper-base is used instead" in ready["dependencies"]["stt"]["message"]
    by_name = await transcribe(service, make_wav(), model="parakeet")
    assert refusal(by_name)[:2] == (500, "model_damaged")  # no fallback for a model by its name


async def test_engine_that_fails_mid_request_is_replaced_for_that_request(
    start: ServiceStarter,
) -> None:
    class Breaking(FakeTranscriber):
        def transcribe(
            self, samples: Samples, *, language: str, words: bool = False
        ) -> Iterator[Segment]:
            yield from super().transcribe(samples, language=language, words=words)
            msg = "CUDA error: an illegal memory access was encountered"
            raise RuntimeError(msg)

    service = await start(stt=Breaking, fallback=FakeTranscriber)
    body = (await transcribe(service, make_wav())).json()
    assert (body["text"], body["engine"]) == ("turn on the kitchen light", "whisper-base")
    assert body["degraded"] is True


# ---- speech ----


async def test_speech_is_returned_as_wav(start: ServiceStarter) -> None:
    voice = FakeSynthesizer()
    service = await start(tts=lambda: voice)
    response = await speak(service, input="One. Two.")
    assert response.headers["content-type"] == "audio/wav"
    sound = wav.parse(response.content, max_s=60)
    assert (sound.rate_hz, sound.channels, sound.bits) == (24_000, 1, 16)
    assert sound.duration_s == pytest.approx(0.08, abs=0.001)
    assert voice.spoken == ["One.", "Two."]


async def test_pcm_is_the_wav_without_its_header(start: ServiceStarter) -> None:
    service = await start()
    whole = await speak(service)
    bare = await speak(service, response_format="pcm")
    assert bare.headers["content-type"] == "audio/pcm"
    assert whole.content[44:] == bare.content


async def test_speed_and_voice_reach_the_engine(start: ServiceStarter) -> None:
    service = await start()
    normal, fast = await speak(service), await speak(service, speed=2.0)
    assert len(fast.content) < len(normal.content) * 0.6
    other = await speak(service, voice="af_heart")
    assert other.content != normal.content


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"input": ""}, 400, "empty"),
        ({"input": " \n"}, 400, "empty"),
        ({"input": "a" * 4001}, 413, "4000 characters"),
        ({"input": "a\0b"}, 400, "NUL"),
        ({"input": "..."}, 400, "contains nothing that can be spoken"),
        ({"voice": "hal"}, 400, "barnabee, af_heart"),
        ({"speed": 9}, 400, "speed"),
        ({"response_format": "ogg"}, 400, "response_format"),
        ({"stream_format": "sse"}, 400, "stream_format"),
        ({"model": "whisper-1"}, 404, "kokoro-int8"),
        ({"input": 7}, 400, "input"),
    ],
)
async def test_invalid_speech_requests_are_refused(
    start: ServiceStarter, body: dict[str, object], status: int, words: str
) -> None:
    service = await start()
    got = refusal(await speak(service, **body))
    assert got[0] == status
    assert words in got[2]


async def test_lone_surrogate_is_refused(start: ServiceStarter) -> None:
    service = await start()
    for path, model in (("/v1/audio/speech", "tts-1"), ("/v1/embeddings", "embeddings")):
        body = f'{{"model": "{model}", "input": "\\ud800 hello"}}'.encode()
        headers = {"content-type": "application/json"}
        response = await service.client.post(path, content=body, headers=headers)
        assert "surrogate" in refusal(response)[2]


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/embeddings"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b"\0" * 100])
async def test_invalid_json_is_refused(start: ServiceStarter, path: str, content: bytes) -> None:
    service = await start()
    headers = {"content-type": "application/json"}
    response = await service.client.post(path, content=content, headers=headers)
    assert refusal(response)[:2] == (400, "bad_request")


# ---- embeddings ----


async def test_embeddings_are_unit_vectors_in_order(start: ServiceStarter) -> None:
    service = await start()
    body = (await embed(service, input=["red lamp", "lamp"])).json()
    vectors = np.array([row["embedding"] for row in body["data"]], np.float32)
    expected = FakeEmbedder().embed(["red lamp", "lamp"]).vectors
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert [row["index"] for row in body["data"]] == [0, 1]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


async def test_base64_holds_the_same_vectors(start: ServiceStarter) -> None:
    service = await start()
    row = (await embed(service, encoding_format="base64")).json()["data"][0]
    got = np.frombuffer(base64.b64decode(row["embedding"]), "<f4")
    np.testing.assert_allclose(got, FakeEmbedder().embed(["hello"]).vectors[0], atol=1e-6)


async def test_json_floats_are_bit_exact_for_many_texts(start: ServiceStarter) -> None:
    service = await start()
    texts = [f"text {n}" for n in range(40)]
    rows = (await embed(service, input=texts)).json()["data"]
    assert [row["index"] for row in rows] == list(range(40))
    vectors = np.array([row["embedding"] for row in rows], np.float64).astype(np.float32)
    np.testing.assert_array_equal(vectors, FakeEmbedder().embed(texts).vectors)


async def test_vectors_with_nan_are_an_error(start: ServiceStarter) -> None:
    class Broken(FakeEmbedder):
        def embed(self, texts: Sequence[str]) -> Embeddings:
            found = super().embed(texts)
            return Embeddings(found.vectors * np.float32("nan"), found.tokens)

    service = await start(embed=Broken)
    assert refusal(await embed(service))[:2] == (503, "dependency_down")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"input": ""}, 400),
        ({"input": []}, 400),
        ({"input": ["fine", " "]}, 400),
        ({"input": ["a"] * 257}, 413),
        ({"input": "a" * 2001}, 413),
        ({"input": [1, 2]}, 400),
        ({"dimensions": 100}, 400),
        ({"model": "gpt-4"}, 404),
    ],
)
async def test_invalid_embedding_requests_are_refused(
    start: ServiceStarter, body: dict[str, object], status: int
) -> None:
    service = await start()
    assert refusal(await embed(service, **body))[0] == status


# ---- health, models, metrics ----


async def test_only_health_routes_need_no_token(start: ServiceStarter) -> None:
    service = await start()
    service.client.headers.pop("Authorization")
    assert (await service.client.get("/health/live")).status_code == 200
    assert (await service.client.get("/health/ready")).status_code == 200
    for path in ("/v1/models", "/metrics"):
        assert refusal(await service.client.get(path))[:2] == (401, "unauthorized")


async def test_service_responds_while_models_load(start: ServiceStarter) -> None:
    gate = JobGate()

    class Slow(FakeSynthesizer):
        def warm_up(self) -> None:
            gate.wait_until_open()

    service = await start(tts=Slow, wait=False)
    await asyncio.to_thread(gate.reached.wait)
    assert (await service.client.get("/health/live")).status_code == 200
    assert (await service.client.get("/health/ready")).status_code == 503
    waiting = asyncio.create_task(speak(service))
    await wait_until(lambda: bool(service.capabilities.manager.ledger.waiting))
    gate.opened.set()
    assert (await waiting).status_code == 200
    await wait_until(lambda: service.capabilities.manager.has_attempted_load("embeddings"))
    assert (await service.running.health.report(max_age_s=0)).state == "healthy"


async def test_failed_engine_degrades_health_and_others_work(start: ServiceStarter) -> None:
    def damaged() -> FakeSynthesizer:
        raise ModelDamaged(path="/models/kokoro-int8/model.onnx", reason="12 bytes instead of 99")

    service = await start(tts=damaged)
    ready = await service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    tts = ready.json()["dependencies"]["tts"]
    assert (tts["status"], tts["code"]) == ("unhealthy", "model_damaged")
    assert "kokoro-int8/model.onnx" in tts["message"]
    assert refusal(await speak(service))[:2] == (500, "model_damaged")
    assert (await embed(service)).status_code == 200
    assert (await transcribe(service, make_wav())).status_code == 200
    rows = {row["id"]: row for row in (await service.client.get("/v1/models")).json()["data"]}
    assert rows["kokoro-int8"]["state"] == "failed"
    assert rows["kokoro-int8"]["error"]["code"] == "model_damaged"


async def test_service_without_any_engine_is_unhealthy(start: ServiceStarter) -> None:
    def missing() -> FakeSynthesizer:
        raise ModelDamaged(path="x", reason="y")

    service = await start(stt=missing, tts=missing, embed=missing)
    ready = await service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "unhealthy")


async def test_models_are_listed_with_their_state(start: ServiceStarter) -> None:
    service = await start()
    body = (await service.client.get("/v1/models")).json()
    assert [(row["id"], row["task"], row["state"]) for row in body["data"]] == [
        ("whisper-base", "stt", "ready"),
        ("kokoro-int8", "tts", "ready"),
        ("minilm", "embed", "ready"),
        ("openwakeword", "wake", "ready"),
    ]
    assert body["data"][-1]["words"] == ["hey_jarvis", "alexa"]
    one = (await service.client.get("/v1/models/tts-1")).json()
    assert one["voices"] == ["barnabee", "af_heart"]
    assert refusal(await service.client.get("/v1/models/none"))[0] == 404


async def test_inference_metrics_are_exported(start: ServiceStarter) -> None:
    service = await start()
    await transcribe(service, make_wav(1.0))
    text = (await service.client.get("/metrics")).text
    assert 'barnabee_inference_seconds_count{engine="whisper-base",task="stt"} 1.0' in text
    assert 'barnabee_inference_audio_seconds_total{engine="whisper-base",task="stt"} 1.0' in text
    assert 'barnabee_health_check_stt{component="gpu"}' in text


# ---- VRAM and turns ----


async def test_vram_route_shows_ledger_and_decisions(start: ServiceStarter) -> None:
    service = await start()
    body = (await service.client.get("/v1/vram")).json()
    assert body["card"]["name"] == "main memory"
    assert [row["state"] for row in body["models"]] == ["ready"] * 4
    assert {one["decision"] for one in body["decisions"]} == {"load", "loaded"}
    assert all(one["reason"] for one in body["decisions"])


async def test_unloaded_model_is_loaded_again_on_request(start: ServiceStarter) -> None:
    service = await start()
    gone = await service.client.post("/v1/models/kokoro/unload")
    assert (gone.status_code, gone.json()["state"]) == (200, "absent")
    assert (await speak(service)).status_code == 200
    await service.client.post("/v1/models/kokoro/unload")
    back = await service.client.post("/v1/models/kokoro/load")
    assert (back.status_code, back.json()["state"]) == (200, "ready")


async def test_turn_keeps_its_models_loaded_until_it_ends(start: ServiceStarter) -> None:
    service = await start()
    turn = (await service.client.post("/v1/turns", json={"session": "kitchen"})).json()
    assert set(turn["models"]) == {"whisper", "kokoro", "embeddings"}
    refused = await service.client.post("/v1/models/kokoro/unload")
    assert refusal(refused)[:2] == (409, "model_in_use")
    assert (await speak(service)).status_code == 200
    assert (await service.client.delete(f"/v1/turns/{turn['id']}")).status_code == 204
    assert (await service.client.delete(f"/v1/turns/{turn['id']}")).status_code == 404
    assert (await service.client.post("/v1/models/kokoro/unload")).status_code == 200


async def test_turn_whose_client_has_left_keeps_nothing_loaded(start: ServiceStarter) -> None:
    service = await start()
    await service.client.post("/v1/models/kokoro/unload")
    request = service.client.build_request("POST", "/v1/turns", json={"session": "kitchen"})
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    scope = {"type": "http", "method": "POST", "path": "/v1/turns", "query_string": b""}
    messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": request.content}]
    statuses = []

    async def receive() -> dict[str, object]:
        return messages.pop()

    async def send(message: dict[str, object]) -> None:
        statuses.append(message.get("status"))

    await service.running.app({**scope, "headers": headers}, receive, send)
    assert statuses[0] == 201
    assert not messages
    assert not len(service.capabilities.manager.turns)


async def test_word_timestamps_on_request(start: ServiceStarter) -> None:
    service = await start()
    form = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    (word,) = (await transcribe(service, make_wav(1.0), **form)).json()["words"]
    assert (word["start"], word["end"], word["confidence"]) == (0.0, 1.0, 0.9)


async def test_hanging_engine_makes_the_service_unhealthy_until_it_ends(
    start: ServiceStarter,
) -> None:
    gate = JobGate()

    class Hanging(FakeSynthesizer):
        def speak(self, text: str, *, voice: str, speed: float) -> Iterator[Samples]:
            gate.wait_until_open()
            yield from super().speak(text, voice=voice, speed=speed)

    service = await start(tts=Hanging)
    service.capabilities.tts.preferred.inference_limit_s = 0.05
    hung = await speak(service)
    assert refusal(hung)[:2] == (503, "engine_stuck")
    report = await service.running.health.report(max_age_s=0)
    assert (report.state, report.results["card"].code) == ("unhealthy", "engine_stuck")
    assert (await embed(service)).status_code == 200  # the others still work
    gate.opened.set()
    await wait_until(lambda: not service.capabilities.tts.preferred.is_busy)
    service.capabilities.tts.preferred.inference_limit_s = 60
    assert (await service.running.health.report(max_age_s=0)).state == "healthy"
    assert (await speak(service)).status_code == 200


async def test_hostile_files_are_answered_while_the_service_is_responsive(
    start: ServiceStarter,
) -> None:
    service = await start()
    files = [path.read_bytes() for path in sorted(MEDIA_FOLDER.iterdir())]
    answers = await asyncio.gather(*(transcribe(service, content) for content in files))
    assert {answer.status_code for answer in answers} <= {200, 400, 413}
    assert all(answer.json()["message"].endswith(".") for answer in answers if answer.is_error)
    assert (await service.client.get("/health/live")).status_code == 200
