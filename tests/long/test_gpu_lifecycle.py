"""Start, failures and shutdown of the inference service, with real models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.gpu import MODEL_FOLDERS, GpuProcess, find_models_dir

STOP_WITHIN_S = 4
MakeGpu = Callable[[Path], GpuProcess]


@pytest.fixture
def make_gpu(tmp_path: Path) -> Iterator[MakeGpu]:
    made: list[GpuProcess] = []

    def make(models: Path) -> GpuProcess:
        made.append(GpuProcess(tmp_path / f"gpu{len(made)}", models).start())
        return made[-1]

    yield make
    for service in made:
        if service.process is not None and service.process.poll() is None:
            service.process.kill()
            service.process.wait()


def link_models(target: Path) -> Path:
    """Return a folder of links to the real models; a test may replace files."""
    for name in MODEL_FOLDERS:
        (target / name).mkdir(parents=True)
        for file in (find_models_dir() / name).iterdir():
            (target / name / file.name).symlink_to(file)
    return target


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


def test_responds_before_it_is_ready_and_stops_while_loading(make_gpu: MakeGpu) -> None:
    service = make_gpu(find_models_dir())
    service.wait_for("/health/live")
    with service.client() as client:
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        found = {name: one["status"] for name, one in ready.json()["dependencies"].items()}
        assert found["engines"] == "unhealthy"
        assert "loading" in ready.text
    assert service.stop()[0] == 0


def test_a_truncated_model_is_reported_and_reloaded_after_a_repair(
    make_gpu: MakeGpu, tmp_path: Path
) -> None:
    models = link_models(tmp_path / "models")
    truncate(models / "kokoro-int8" / "model.onnx")
    service = make_gpu(models)
    service.wait_for("/health/live")
    ready = service.wait_for("/health/ready").json()
    assert ready["status"] == "degraded"
    finding = ready["dependencies"]["tts"]
    assert (finding["status"], finding["code"]) == ("unhealthy", "model_damaged")
    assert str(models / "kokoro-int8" / "model.onnx") in finding["message"]
    assert "barnabee models fetch" in finding["message"]
    with service.client() as client:
        speech = client.post("/v1/audio/speech", json={"model": "kokoro", "input": "Hi."})
        assert (speech.status_code, speech.json()["code"]) == (500, "model_damaged")
        body = {"model": "embeddings", "input": "hello"}
        embedded = client.post("/v1/embeddings", json=body)
        assert embedded.status_code == 200, embedded.text
    (models / "kokoro-int8" / "model.onnx").unlink()
    (models / "kokoro-int8" / "model.onnx").symlink_to(
        find_models_dir() / "kokoro-int8" / "model.onnx"
    )
    deadline = time.monotonic() + 60
    while service.wait_for("/health/ready").json()["status"] != "healthy":
        assert time.monotonic() < deadline, "it did not recover"
        time.sleep(0.2)


def test_without_models_it_runs_and_names_the_command(make_gpu: MakeGpu, tmp_path: Path) -> None:
    service = make_gpu(tmp_path / "nothing")
    service.wait_for("/health/live")

    def read_dependencies() -> dict[str, dict[str, object]]:
        return service.wait_for("/health/ready", status=503).json()["dependencies"]

    deadline = time.monotonic() + 60
    while any("loading" in str(one["code"]) for one in read_dependencies().values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    codes = {name: one["code"] for name, one in read_dependencies().items()}
    assert codes == {
        "stt": "model_missing",
        "tts": "model_missing",
        "embed": "model_missing",
        "wake": "model_missing",
        "engines": "dependency_down",
        "card": None,
    }
    assert "barnabee models fetch" in read_dependencies()["stt"]["message"]
    assert service.stop()[0] == 0
