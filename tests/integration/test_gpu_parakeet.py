"""Parakeet in the real service, on a small real export, with the real Whisper behind it."""

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
from support.gpu import MODEL_FOLDERS, GpuProcess, models_dir

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
        (folder / name).symlink_to(models_dir() / name)
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


def hear(http: httpx.Client, sound: np.ndarray, model: str = "whisper-1", **form: Any) -> Any:
    content = wav.make_header(16_000) + to_pcm16(sound)
    files = {"file": ("a.wav", io.BytesIO(content))}
    answer = http.post("/v1/audio/transcriptions", files=files, data={"model": model, **form})
    assert answer.status_code == 200, answer.text
    return answer.json()


def speech(name: str = "what_time_af_heart.wav") -> np.ndarray:
    sound = wav.parse((AUDIO / name).read_bytes(), max_s=60)
    return wav.decode(sound, 16_000)


def test_parakeet_is_the_main_ear_where_it_has_files(make_gpu: MakeGpu) -> None:
    service = make_gpu(change=with_parakeet)
    with service.client() as http:
        states = {one["id"]: one["state"] for one in http.get("/v1/models").json()["data"]}
        assert states[FILES] == "ready"
        assert states["whisper-base"] == "absent"
        form = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
        heard = hear(http, parakeet_tdt.make_tones(500, 900, 1400, 2000), **form)
        assert (heard["text"], heard["engine"], heard["degraded"]) == (
            "turn on lights",
            FILES,
            False,
        )
        assert [word["word"] for word in heard["words"]] == ["turn", "on", "lights"]
        assert 0.9 < heard["confidence"] <= 1
        assert heard["words"][0]["start"] == pytest.approx(parakeet_tdt.GAP_S, abs=0.1)
        # another language is heard by the one that knows it, and that is nobody's failure
        french = hear(http, speech(), language="fr")
        assert (french["engine"], french["degraded"]) == ("whisper-base", False)
        wrong = {"model": "whisper-1", "language": "xx"}
        content = wav.make_header(16_000) + to_pcm16(speech())
        refused = http.post("/v1/audio/transcriptions", files={"file": content}, data=wrong)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")
        # out and in again
        assert http.post(f"/v1/models/{FILES}/unload").json()["state"] == "absent"
        assert http.post(f"/v1/models/{FILES}/load").json()["state"] == "ready"
        assert hear(http, parakeet_tdt.make_tones(2800))["text"] == "stop"


def test_a_damaged_parakeet_is_named_whisper_answers_and_a_repair_needs_no_restart(
    make_gpu: MakeGpu, models: Path
) -> None:
    path = models / FILES / "decoder_joint-model.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    service = make_gpu(change=with_parakeet)
    with service.client() as http:
        heard = hear(http, speech())
        assert heard["text"].strip(" ?.").lower() == "what time is it"
        assert (heard["engine"], heard["degraded"]) == ("whisper-base", True)
        ready = http.get("/health/ready").json()
        assert ready["status"] == "degraded"
        assert ready["dependencies"]["stt"]["code"] == "model_damaged"
        assert str(path) in ready["dependencies"]["stt"]["message"]
        path.write_bytes(whole)
        deadline = time.monotonic() + 60
        while http.get("/health/ready").json()["status"] != "healthy":
            assert time.monotonic() < deadline, "it did not come back by itself"
            time.sleep(0.2)
        assert hear(http, parakeet_tdt.make_tones(2800))["engine"] == FILES


def test_when_parakeet_fails_in_the_middle_whisper_answers(make_gpu: MakeGpu, models: Path) -> None:
    shutil.rmtree(models / FILES)
    # takes a second of sound, as its first inference has, and fails on any other length
    parakeet_tdt.write_export(models / FILES, frames=101)
    service = make_gpu(change=with_parakeet)
    with service.client() as http:
        assert http.get("/health/ready").json()["status"] == "healthy"
        heard = hear(http, speech())
        assert heard["text"].strip(" ?.").lower() == "what time is it"
        assert (heard["engine"], heard["degraded"]) == ("whisper-base", True)
        named = {"model": FILES}
        content = wav.make_header(16_000) + to_pcm16(speech())
        alone = http.post("/v1/audio/transcriptions", files={"file": content}, data=named)
        assert (alone.status_code, alone.json()["code"]) == (503, "dependency_down")
        assert "audio_signal" in alone.json()["message"]
    assert any(line.get("event") == "not heard" for line in service.log())
