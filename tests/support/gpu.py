"""Real inference service with real models, as a process (`python -m barnabee.gpu`)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from support.wait import LAST_RESORT_S, find_free_port

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "made-up-token"
READY_WITHIN_S = LAST_RESORT_S
MODEL_FOLDERS = ("whisper-base", "kokoro-int8", "minilm", "openwakeword")


def find_models_dir() -> Path:
    """Return the folder of the real models; AssertionError if one is missing."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(os.environ.get("BARNABEE_MODELS") or Path(cache) / "barnabee" / "models")
    missing = [name for name in MODEL_FOLDERS if not (folder / name / "manifest.json").is_file()]
    assert not missing, f"{', '.join(missing)} not in {folder}: run `./barnabee models fetch` first"
    return folder


def make_models_environment() -> dict[str, str]:
    """Return the environment of a process that loads the real models."""
    added = {"BARNABEE_MODELS": str(find_models_dir()), "PYTHONPATH": str(ROOT / "src")}
    return {**os.environ, **added}


def synthesize(client: httpx.Client, text: str, **options: object) -> bytes:
    """Return `text` spoken, as a WAV."""
    body = {"model": "kokoro", "input": text, "response_format": "wav", **options}
    response = client.post("/v1/audio/speech", json=body)
    assert response.status_code == 200, response.text
    return response.content


@dataclass
class GpuProcess:
    """Process of the service; `change` edits its system.toml."""

    directory: Path
    models: Path
    port: int = field(default_factory=find_free_port)
    change: Callable[[dict[str, Any]], object] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def _output(self) -> Path:
        return self.directory / "gpu.jsonl"

    def start(self) -> GpuProcess:
        """Start the process; does not wait until it is ready."""
        text = (ROOT / "system.toml").read_text(encoding="utf-8")
        text = text.replace("port = 8001", f"port = {self.port}")
        if self.change:
            import tomli_w  # noqa: PLC0415 - not installed where tests/gpu runs

            graph = tomllib.loads(text)
            self.change(graph)
            text = tomli_w.dumps(graph)
        credentials = self.directory / "credentials"
        credentials.mkdir(parents=True, exist_ok=True)
        (credentials / "api_token").write_text(TOKEN, encoding="utf-8")
        (self.directory / "system.toml").write_text(text, encoding="utf-8")
        environment = {
            **os.environ,
            "BARNABEE_SYSTEM": str(self.directory / "system.toml"),
            "BARNABEE_MODELS": str(self.models),
            "CREDENTIALS_DIRECTORY": str(credentials),
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH")))
            ),
            **self.environment,
        }
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "barnabee.gpu"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self

    def client(self, timeout_s: float = 120) -> httpx.Client:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s)

    def wait_for(self, path: str, status: int = 200) -> httpx.Response:
        """Poll `path` until it responds with `status`."""
        deadline = time.monotonic() + READY_WITHIN_S
        last: object = None
        with self.client() as client:
            while time.monotonic() < deadline:
                assert self.process is not None
                assert self.process.poll() is None, self._output.read_text()
                try:
                    response = client.get(path)
                except httpx.TransportError as error:
                    last = error
                else:
                    if response.status_code == status:
                        return response
                    last = response.text
                time.sleep(0.02)
        message = f"{path} was not {status} within {READY_WITHIN_S} s; last: {last}"
        raise AssertionError(message)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Stop the process; return its exit status and the seconds that took."""
        assert self.process is not None
        started_s = time.monotonic()
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout=LAST_RESORT_S), time.monotonic() - started_s
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def read_metric(self, name: str) -> float:
        """Return the sum of the series whose line begins with `name`."""
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def log(self) -> list[dict[str, object]]:
        """Return the log lines of the process."""
        lines = self._output.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def run_wake_service(directory: Path) -> Iterator[GpuProcess]:
    """Run the service with the wake word models only, which load faster."""
    (directory / "models").mkdir()
    (directory / "models" / "openwakeword").symlink_to(find_models_dir() / "openwakeword")
    service = GpuProcess(directory, directory / "models").start()
    try:
        service.wait_for("/health/live")
        yield service
    finally:
        service.stop()
