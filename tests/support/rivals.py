"""Other programs' servers, which our own are measured beside.

Each has a Python of its own, made by `torch_env.pinned_python` from requirements/rivals-*.txt, and
runs as a process from which nothing is fetched and nothing sent behind our back.
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

from support.torch_env import pinned_python, torch_python
from support.wait import free_port

READY_WITHIN_S = 180.0  # libraries of gigabytes that are read for the first time
ENDS_WITHIN_S = 15.0
ALONE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}


def make_http_probe(url: str) -> Callable[[], bool]:
    """Return what says whether `url` answers with 200."""

    def ask() -> bool:
        try:
            return httpx.get(url, timeout=2).is_success
        except httpx.TransportError:
            return False

    return ask


def make_port_probe(port: int) -> Callable[[], bool]:
    """Return what says whether somebody listens on a port of this machine."""

    def ask() -> bool:
        with socket.socket() as probe:
            probe.settimeout(2)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ask


@contextmanager
def run_server(
    command: Sequence[str | Path],
    *,
    ready: Callable[[], bool],
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block; AssertionError with its log if it is never ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **ALONE, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # what it starts itself ends with it
        )
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while not ready():
            assert process.poll() is None, f"{command[0]} ended:\n{_end_of(log)}"
            assert time.monotonic() < deadline, f"{command[0]} is not ready:\n{_end_of(log)}"
            time.sleep(0.1)
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                continue


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-4000:]


def with_torch(python: Path) -> Path:
    """Let an environment that was made without torch see the one of requirements/gpu.txt.

    Its own packages come first, so it keeps its own versions of everything else.
    """
    (there,) = (torch_python().parents[1] / "lib").glob("python3.*/site-packages")
    (here,) = (python.parents[1] / "lib").glob("python3.*/site-packages")
    (here / "torch.pth").write_text(f"{there}\n", encoding="utf-8")
    return python


@contextmanager
def run_infinity(model: Path, directory: Path) -> Iterator[str]:
    """Serve a sentence-transformers folder with infinity-emb, all else as it comes; yield its URL.

    The model's name there is "rival".
    """
    python = with_torch(pinned_python("infinity", "rivals-embed.txt"))
    port = free_port()
    command: list[str | Path] = [python.parent / "infinity_emb", "v2", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--device", "cpu"]
    command += ["--model-id", model, "--served-model-name", "rival"]
    url = f"http://127.0.0.1:{port}"
    with run_server(command, ready=make_http_probe(f"{url}/health"), log=directory / "infinity.log"):
        yield url
