"""BARNABEE_DEVICE=cuda on a machine without a GPU: the service runs and reports the reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gpu import GpuProcess

pytestmark = pytest.mark.skipif(
    Path("/dev/nvidiactl").exists(), reason="the machine has an NVIDIA GPU"
)


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[GpuProcess]:
    models = tmp_path / "models"
    models.mkdir()
    service = GpuProcess(tmp_path, models, environment={"BARNABEE_DEVICE": "cuda"}).start()
    yield service
    if service.process is not None and service.process.poll() is None:
        service.process.kill()
        service.process.wait()


def test_every_capability_reports_the_missing_driver(gpu: GpuProcess) -> None:
    gpu.wait_for("/health/live")
    deadline = time.monotonic() + 60
    while True:
        ready = gpu.wait_for("/health/ready", status=503).json()
        found = ready["dependencies"]
        if not any(one["code"] == "loading" for one in found.values()):
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    print(ready)
    assert ready["status"] == "unhealthy"
    for one in ("stt", "tts", "embed", "card"):
        assert (found[one]["status"], found[one]["code"]) == ("unhealthy", "dependency_down")
        assert "the GPU driver does not answer" in found[one]["message"]
    with gpu.client() as http:
        body = {"model": "kokoro", "input": "Hi."}
        answer = http.post("/v1/audio/speech", json=body)
        assert (answer.status_code, answer.json()["code"]) == (503, "dependency_down")
        assert "driver" in answer.json()["message"]
        rows = http.get("/v1/models").json()["data"]
        assert {row["id"] for row in rows} >= {"parakeet-tdt-0.6b-v3", "kokoro-v1.0"}
    assert gpu.stop()[0] == 0
    assert not any(line["event"] in {"crashed", "vram task crashed"} for line in gpu.log())
