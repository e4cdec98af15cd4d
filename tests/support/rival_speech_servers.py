"""Other speech servers, for benchmarks against ours, each in its own environment.

They load the same model files as our service, with the same number of threads, and are offline.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx

from support.torch_env import make_pinned_python
from support.wait import LAST_RESORT_S, find_free_port

READY_WITHIN_S = 120
THREADS = len(os.sched_getaffinity(0))
SAMPLES_PER_CHUNK = 1024


@dataclass(frozen=True)
class WyomingClient:
    """Client of the Wyoming protocol: a JSON line, then its data and its payload."""

    port: int

    def transcribe(self, content: bytes) -> str:
        """Return the transcript of a 16-bit WAV."""
        with wave.open(BytesIO(content)) as file:
            form = {"rate": file.getframerate(), "width": 2, "channels": file.getnchannels()}
            sound = file.readframes(file.getnframes())
        step = SAMPLES_PER_CHUNK * 2
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as link:
            stream = link.makefile("rwb")
            _send(stream, "transcribe", {"language": "en"})
            _send(stream, "audio-start", form)
            for start in range(0, len(sound), step):
                _send(stream, "audio-chunk", form, sound[start : start + step])
            _send(stream, "audio-stop", {})
            stream.flush()
            while True:
                kind, data = _receive(stream)
                if kind == "transcript":
                    return str(data["text"])


@contextmanager
def run_wyoming_whisper(model: Path, scratch: Path) -> Iterator[WyomingClient]:
    """Run wyoming-faster-whisper on `model`, as its manual recommends."""
    python = make_pinned_python("rivals_stt", "rivals-stt.txt")
    port = find_free_port()
    command = [str(python), "-m", "wyoming_faster_whisper", "--uri", f"tcp://127.0.0.1:{port}"]
    command += ["--model", str(model), "--data-dir", str(scratch), "--local-files-only"]
    command += ["--language", "en", "--compute-type", "int8", "--cpu-threads", str(THREADS)]
    command += ["--stt-library", "faster-whisper", "--beam-size", "5", "--device", "cpu"]

    def is_ready() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            stream = link.makefile("rwb")
            _send(stream, "describe", {})
            stream.flush()
            return _receive(stream)[0] == "info"

    with _process(command, {}, is_ready, scratch / "wyoming.log"):
        yield WyomingClient(port)


@contextmanager
def run_fastkokoro(model: Path, scratch: Path) -> Iterator[httpx.Client]:
    """Run fastkokoro on the model and voices in `model`, otherwise with its defaults."""
    python = make_pinned_python("rivals_tts", "rivals-tts.txt")
    port = find_free_port()
    environment = {
        "FASTKOKORO_MODEL_PATH": str(model / "model.onnx"),
        "FASTKOKORO_VOICES_PATH": str(model / "voices.npz"),
        "FASTKOKORO_CACHE_DIR": str(scratch),
        "FASTKOKORO_HOST": "127.0.0.1",
        "FASTKOKORO_PORT": str(port),
        "FASTKOKORO_ONNX_INTRA_OP_NUM_THREADS": str(THREADS),
    }
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:

        def is_ready() -> bool:
            return client.get("/v1/models").is_success

        command = [str(python.parent / "fastkokoro")]
        with _process(command, environment, is_ready, scratch / "fastkokoro.log"):
            yield client


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], is_ready: Callable[[], bool], log: Path
) -> Iterator[None]:
    offline = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **offline, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            assert process.poll() is None, log.read_text(errors="replace")[-4000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-4000:]
            try:
                if is_ready():
                    break
            except (OSError, httpx.TransportError):
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=LAST_RESORT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _send(stream: Any, kind: str, data: dict[str, Any], payload: bytes = b"") -> None:
    head: dict[str, Any] = {"type": kind, "data": data}
    if payload:
        head["payload_length"] = len(payload)
    stream.write(json.dumps(head).encode() + b"\n" + payload)


def _receive(stream: Any) -> tuple[str, dict[str, Any]]:
    line = stream.readline()
    assert line, "the server closed the connection"
    head = json.loads(line)
    data = head.get("data") or {}
    if head.get("data_length"):
        data |= json.loads(stream.read(head["data_length"]))
    stream.read(head.get("payload_length") or 0)
    return head["type"], data
