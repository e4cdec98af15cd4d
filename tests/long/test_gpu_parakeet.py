"""Parakeet in the real service, with a small export and the real Whisper as fallback."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from barnabee.audio import wav
from barnabee.audio.samples import to_pcm16
from support import parakeet_tdt
from support.gpu import MODEL_FOLDERS, GpuProcess, find_models_dir

FILES = "parakeet-tdt-small"
MakeGpu = Callable[..., GpuProcess]
AUDIO = Path(__file__).parents[1] / "audio"


def with_parakeet(graph: dict[str, Any]) -> None:
    graph["model"]["parakeet"]["cpu_files"] = FILES


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a folder with links to the real models and the small Parakeet."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in MODEL_FOLDERS:
        (folder / name).symlink_to(find_models_dir() / name)
    parakeet_tdt.write_export(folder / FILES)
    return folder


@pytest.fixture
def make_gpu(tmp_path: Path, models: Path) -> Iterator[MakeGpu]:
    made: list[GpuProcess] = []

    def make(**options: Any) -> GpuProcess:
        service = GpuProcess(tmp_path / "gpu", models, **options)
        made.append(service.start())
        service.wait_for("/health/live")
        service.wait_for("/health/ready")
        return service

    yield make
    for service in made:
        if service.process is not None and service.process.poll() is None:
            service.stop()


def transcribe(http: httpx.Client, sound: np.ndarray, model: str = "whisper-1", **form: Any) -> Any:
    content = wav.make_header(16_000) + to_pcm16(sound)
    files = {"file": ("a.wav", io.BytesIO(content))}
    answer = http.post("/v1/audio/transcriptions", files=files, data={"model": model, **form})
    assert answer.status_code == 200, answer.text
    return answer.json()


def speech(name: str = "what_time_af_heart.wav") -> np.ndarray:
    sound = wav.parse((AUDIO / name).read_bytes(), max_s=60)
    return wav.decode(sound, 16_000)


def test_parakeet_is_preferred_when_its_files_exist(make_gpu: MakeGpu) -> None:
    service = make_gpu(change=with_parakeet)
    with service.client() as http:
        states = {one["id"]: one["state"] for one in http.get("/v1/models").json()["data"]}
        assert states[FILES] == "ready"
        assert states["whisper-base"] == "absent"
        form = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
        result = transcribe(http, parakeet_tdt.make_tones(500, 900, 1400, 2000), **form)
        assert (result["text"], result["engine"], result["degraded"]) == (
            "turn on lights",
            FILES,
            False,
        )
        assert [word["word"] for word in result["words"]] == ["turn", "on", "lights"]
        assert 0.9 < result["confidence"] <= 1
        assert result["words"][0]["start"] == pytest.approx(parakeet_tdt.GAP_S, abs=0.1)
        # other languages use Whisper, which is not degraded
        french = transcribe(http, speech(), language="fr")
        assert (french["engine"], french["degraded"]) == ("whisper-base", False)
        wrong = {"model": "whisper-1", "language": "xx"}
        content = wav.make_header(16_000) + to_pcm16(speech())
        refused = http.post("/v1/audio/transcriptions", files={"file": content}, data=wrong)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")
        # unload and reload
        assert http.post(f"/v1/models/{FILES}/unload").json()["state"] == "absent"
        assert http.post(f"/v1/models/{FILES}/load").json()["state"] == "ready"
        assert transcribe(http, parakeet_tdt.make_tones(2800))["text"] == "stop"


def test_a_damaged_parakeet_is_reported_replaced_and_reloaded(
    make_gpu: MakeGpu, models: Path
) -> None:
    path = models / FILES / "decoder_joint-model.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    service = make_gpu(change=with_parakeet)
    with service.client() as http:
        result = transcribe(http, speech())
        assert result["text"].strip(" ?.").lower() == "what time is it"
        assert (result["engine"], result["degraded"]) == ("whisper-base", True)
        ready = http.get("/health/ready").json()
        assert ready["status"] == "degraded"
        assert ready["dependencies"]["stt"]["code"] == "model_damaged"
        assert str(path) in ready["dependencies"]["stt"]["message"]
        path.write_bytes(whole)
        deadline = time.monotonic() + 60
        while http.get("/health/ready").json()["status"] != "healthy":
            assert time.monotonic() < deadline, "it did not recover"
            time.sleep(0.2)
        assert transcribe(http, parakeet_tdt.make_tones(2800))["engine"] == FILES


def test_whisper_transcribes_when_parakeet_fails(make_gpu: MakeGpu, models: Path) -> None:
    shutil.rmtree(models / FILES)
    # accepts one second of audio, like the warm-up, and fails on any other length
    parakeet_tdt.write_export(models / FILES, frames=101)
    service = make_gpu(change=with_parakeet)
    with service.client() as http:
        assert http.get("/health/ready").json()["status"] == "healthy"
        result = transcribe(http, speech())
        assert result["text"].strip(" ?.").lower() == "what time is it"
        assert (result["engine"], result["degraded"]) == ("whisper-base", True)
        named = {"model": FILES}
        content = wav.make_header(16_000) + to_pcm16(speech())
        alone = http.post("/v1/audio/transcriptions", files={"file": content}, data=named)
        assert (alone.status_code, alone.json()["code"]) == (503, "dependency_down")
        assert "audio_signal" in alone.json()["message"]
    assert any(line.get("event") == "transcription failed" for line in service.log())
