"""The service runner: port conflicts, readiness, shutdown and invalid settings."""

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
from support.wait import eventually, find_free_port

SERVICE = """
import os
from pathlib import Path
from barnabee.core import serve
from barnabee.core.health import HealthCheck, HealthMonitor
from barnabee.core.errors import DependencyDown
from barnabee.core.http import ServiceMiddleware, make_standard_routes
from barnabee.core.metrics import Metrics
from starlette.applications import Starlette

async def gate():
    if not Path(os.environ["GATE"]).exists():
        raise DependencyDown(dependency="gate", reason="closed")

def build(system, settings):
    metrics = Metrics("api")
    health = HealthMonitor("api", [HealthCheck("gate", gate, hard=True)], metrics)
    app = Starlette(routes=make_standard_routes(health, metrics))
    return serve.ServiceApp(ServiceMiddleware(app, metrics, None), health)

serve.run_service("api", build)
"""


def test_a_port_in_use_is_reported_with_its_owner() -> None:
    with closing(socket.socket()) as first:
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Port {port} of api .*pid {os.getpid()}"):
            serve.bind_socket("api", "127.0.0.1", port)


@pytest.fixture
def system_file(tmp_path: Path) -> tuple[Path, int]:
    shipped = Path(__file__).resolve().parents[3] / "system.toml"
    port = find_free_port()
    path = tmp_path / "system.toml"
    text = shipped.read_text(encoding="utf-8").replace("port = 8000", f"port = {port}")
    path.write_text(text, encoding="utf-8")
    return path, port


async def test_ready_is_sent_once_ready_and_sigterm_exits_with_0(
    tmp_path: Path, system_file: tuple[Path, int]
) -> None:
    path, port = system_file
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
        received: list[str] = []

        async def receive(text: str) -> bool:
            loop = asyncio.get_running_loop()
            received.append((await asyncio.wait_for(loop.sock_recv(systemd, 200), 60)).decode())
            return text in received[-1]

        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert await eventually(lambda: receive("STATUS=unhealthy"))
            assert (await client.get("/health/ready")).status_code == 503
            assert not any("READY=1" in line for line in received)
            (tmp_path / "open").touch()
            assert await eventually(lambda: receive("READY=1"))
            assert (await client.get("/health/ready")).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0


def test_an_invalid_setting_ends_the_service_with_one_sentence(
    system_file: tuple[Path, int],
) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "BARNABEE_SYSTEM": str(system_file[0]),
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
    assert done.stderr.startswith("setting_invalid: BARNABEE_DEVICE is invalid")
    assert done.stderr.count("\n") == 1
