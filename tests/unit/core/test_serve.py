"""Running a service: a taken port is named, readiness is announced, the end is clean."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from barnabee.core import serve
from barnabee.core.errors import PortTaken
from support.wait import eventually, free_port

SERVICE = """
import os
from pathlib import Path
from barnabee.core import serve
from barnabee.core.health import Check, Health
from barnabee.core.errors import DependencyDown
from barnabee.core.http import Front, standard_routes
from barnabee.core.metrics import Metrics
from starlette.applications import Starlette

async def gate():
    if not Path(os.environ["GATE"]).exists():
        raise DependencyDown(dependency="gate", reason="closed")

def build(system, settings):
    metrics = Metrics("api")
    health = Health("api", [Check("gate", gate, hard=True)], metrics)
    app = Starlette(routes=standard_routes(health, metrics))
    return serve.Running(Front(app, metrics, None), health)

serve.run("api", build)
"""


def test_a_taken_port_is_named_with_its_owner() -> None:
    with closing(socket.socket()) as first:
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Port {port} of api .*pid {os.getpid()}"):
            serve.listen("api", "127.0.0.1", port)


@pytest.fixture
def graph_file(tmp_path: Path) -> tuple[Path, int]:
    shipped = Path(__file__).resolve().parents[3] / "system.toml"
    port = free_port()
    path = tmp_path / "system.toml"
    text = shipped.read_text(encoding="utf-8").replace("port = 8000", f"port = {port}")
    path.write_text(text, encoding="utf-8")
    return path, port


async def test_ready_is_announced_only_once_ready_and_sigterm_ends_it_cleanly(
    tmp_path: Path, graph_file: tuple[Path, int]
) -> None:
    path, port = graph_file
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "BARNABEE_SYSTEM": str(path),
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "GATE": str(tmp_path / "open"),
            "WATCHDOG_USEC": "400000",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", SERVICE], env=environment, stdout=subprocess.PIPE
        )
        heard: list[str] = []

        async def next_word(word: str) -> bool:
            loop = asyncio.get_running_loop()
            heard.append((await asyncio.wait_for(loop.sock_recv(systemd, 200), 10)).decode())
            return word in heard[-1]

        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert await eventually(lambda: next_word("STATUS=unhealthy"), within_s=10)
            assert (await client.get("/health/ready")).status_code == 503
            assert not any("READY=1" in line for line in heard)
            (tmp_path / "open").touch()
            assert await eventually(lambda: next_word("READY=1"), within_s=10)
            assert (await client.get("/health/ready")).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0


def test_a_service_with_a_bad_setting_says_it_in_one_sentence(
    graph_file: tuple[Path, int],
) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "BARNABEE_SYSTEM": str(graph_file[0]),
        "BARNABEE_DEVICE": "toaster",
        "GATE": "",
    }
    done = subprocess.run(
        [sys.executable, "-c", SERVICE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("setting_invalid: BARNABEE_DEVICE is not usable")
    assert done.stderr.count("\n") == 1
