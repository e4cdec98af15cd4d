"""Other embedding servers, for benchmarks against ours.

Each runs as a process, offline and without telemetry, in its own environment
(`torch_env.pinned_python`, requirements/rivals-*.txt).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from support.torch_env import make_pinned_python, make_torch_python
from support.wait import find_free_port

READY_WITHIN_S = 180.0  # gigabytes of libraries are read from disk
STOP_TIMEOUT_S = 15.0
OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}


def make_http_probe(url: str) -> Callable[[], bool]:
    """Return a function that tells whether `url` responds with 200."""

    def probe() -> bool:
        try:
            return httpx.get(url, timeout=2).is_success
        except httpx.TransportError:
            return False

    return probe


def make_port_probe(port: int) -> Callable[[], bool]:
    """Return a function that tells whether a local port accepts connections."""

    def probe() -> bool:
        with socket.socket() as connection:
            connection.settimeout(2)
            return connection.connect_ex(("127.0.0.1", port)) == 0

    return probe


@contextmanager
def run_server(
    command: Sequence[str | Path],
    *,
    ready: Callable[[], bool],
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server inside the block; fails with its log if it never becomes ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **OFFLINE, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its child processes are stopped too
        )
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while not ready():
            assert process.poll() is None, f"{command[0]} ended:\n{_read_tail(log)}"
            assert time.monotonic() < deadline, f"{command[0]} is not ready:\n{_read_tail(log)}"
            time.sleep(0.1)
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue


def _read_tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-4000:]


def with_torch(python: Path) -> Path:
    """Add the packages of requirements/gpu.txt (torch) to an environment, after its own."""
    (torch_packages,) = (make_torch_python().parents[1] / "lib").glob("python3.*/site-packages")
    (own_packages,) = (python.parents[1] / "lib").glob("python3.*/site-packages")
    (own_packages / "torch.pth").write_text(f"{torch_packages}\n", encoding="utf-8")
    return python


@contextmanager
def run_infinity(model: Path, directory: Path) -> Iterator[str]:
    """Serve a sentence-transformers folder with infinity-emb, default settings; yield its URL.

    The model's name in its API is "rival".
    """
    python = with_torch(make_pinned_python("infinity", "rivals-embed.txt"))
    port = find_free_port()
    command: list[str | Path] = [python.parent / "infinity_emb", "v2", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--device", "cpu"]
    command += ["--model-id", model, "--served-model-name", "rival"]
    url = f"http://127.0.0.1:{port}"
    with run_server(
        command, ready=make_http_probe(f"{url}/health"), log=directory / "infinity.log"
    ):
        yield url
