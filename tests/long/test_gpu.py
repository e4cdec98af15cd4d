"""Inference service with the real models: long and unusual texts, disconnects, stop."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

from barnabee.audio import wav
from barnabee.audio.samples import to_pcm16
from support.gpu import GpuProcess, find_models_dir, synthesize
from support.wait import LAST_RESORT_S

LONG = "The heating is set to twenty degrees, and the front door is locked. " * 2


@pytest.mark.alone
def test_a_short_text_does_not_wait_for_a_long_one(http: httpx.Client) -> None:
    body = {"model": "kokoro", "input": LONG, "response_format": "pcm"}
    with http.stream("POST", "/v1/audio/speech", json=body) as response:
        chunks = response.iter_bytes()
        next(chunks)
        begun = time.monotonic()
        synthesize(http, "Yes.")
        short_s = time.monotonic() - begun
        for _ in chunks:
            pass
        assert short_s < time.monotonic() - begun


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f642",
        "\U0001f1e9\U0001f1ea ?!",
        "1e9 & 50%",
        "a" * 30,
        "\u03a9\u2248\u00e7 \u4f60\u597d",
        "\\n\t<b>x</b>",
    ],
)
def test_unusual_texts_are_synthesized_or_refused(http: httpx.Client, text: str) -> None:
    body = {"model": "kokoro", "input": text, "response_format": "pcm"}
    assert http.post("/v1/audio/speech", json=body).status_code in {200, 400}
    assert (
        http.post("/v1/embeddings", json={"model": "embeddings", "input": text}).status_code == 200
    )


def test_synthesis_stops_when_the_client_disconnects(gpu: GpuProcess, http: httpx.Client) -> None:
    body = {"model": "kokoro", "input": LONG * 5, "response_format": "pcm"}
    with http.stream("POST", "/v1/audio/speech", json=body) as response:
        next(response.iter_bytes())
        trace_id = response.headers["x-trace-id"]
    synthesize(http, "Yes.")
    (cut,) = [
        line
        for line in gpu.log()
        if line.get("trace_id") == trace_id and line["event"] == "inference"
    ]
    assert float(str(cut["audio_s"])) < 20  # the whole text takes more than 40 s


def test_it_stops_during_inference_without_waiting_for_its_end(tmp_path: Path) -> None:
    """The text takes longer to synthesize than `stop` waits."""
    service = GpuProcess(tmp_path, find_models_dir()).start()
    service.wait_for("/health/ready")
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * 16_000).astype(np.float32)
    sound = wav.make_header(16_000) + to_pcm16(noise)
    first_sound = threading.Event()

    def request_speech() -> None:
        body = {"model": "kokoro", "input": "This goes on and on, for a long while. " * 100}
        with suppress(httpx.TransportError), service.client() as client:
            speech = client.stream("POST", "/v1/audio/speech", json=body)
            with speech as response:
                for _ in response.iter_bytes():
                    first_sound.set()

    def transcribe() -> None:
        files, form = {"file": ("a.wav", sound)}, {"model": "whisper"}
        with service.client() as client, suppress(httpx.TransportError):
            client.post("/v1/audio/transcriptions", files=files, data=form)

    callers = [threading.Thread(target=one) for one in (request_speech, transcribe)]
    for caller in callers:
        caller.start()
    assert first_sound.wait(LAST_RESORT_S)
    status, _ = service.stop()
    for caller in callers:
        caller.join(LAST_RESORT_S)
    assert status == 0
    assert not any(line["event"] == "crashed" for line in service.log())
