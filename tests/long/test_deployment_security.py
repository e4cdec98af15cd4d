"""Network, secrets and degradation of a local deployment, as `tests/vm` checks on NixOS."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from barnabee.core import system
from barnabee.core.schema import System
from barnabee.up import orphans
from support.deployment import Deployment
from support.programs import needs_program
from support.wait import eventually, wait_until

pytestmark = pytest.mark.timeout(500)
BUCKET_CLIENTS = {"litestream", "rclone"}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("outside"), demo_home=False)
    try:
        # Recording the fillers takes minutes on a busy machine.
        done = deployment.run_cli("up", "-d", limit_s=300)
        assert done.returncode == 0, done.stderr + deployment.read_log_tail()
        done = deployment.run_cli("health", "--wait", "120", limit_s=150)
        assert done.returncode == 0, done.stdout + deployment.read_log_tail()
        yield deployment
    finally:
        deployment.clean_up()


def find_service_processes(deployment: Deployment) -> list[psutil.Process]:
    found = orphans.find_processes(deployment.paths.run_id)
    assert len(found) >= len(load_graph(deployment).service) - 1  # restore has ended
    return found


def load_graph(deployment: Deployment) -> System:
    return system.load_system(deployment.system_file)


def find_sockets(deployment: Deployment, kind: str) -> list[Any]:
    """Return the sockets of all service processes and their children."""
    found = find_service_processes(deployment)
    families = {one for process in found for one in (process, *process.children(recursive=True))}
    return [one for process in families for one in process.net_connections(kind)]


def test_every_listening_socket_is_declared_and_on_loopback(deployment: Deployment) -> None:
    graph = load_graph(deployment)
    services = {node.port for node in graph.service.values() if node.port}
    declared = {node.port for node in graph.nodes().values()} | {graph.wyoming.port}
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for connection in find_sockets(deployment, "tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address for address, _ in listening} == {"127.0.0.1"}
    found = {port for _, port in listening}
    assert found <= declared, f"undeclared ports {found - declared}"
    assert services | {graph.wyoming.port} <= found


def test_without_a_call_no_udp_socket_receives(deployment: Deployment) -> None:
    sockets = find_sockets(deployment, "udp")
    assert [one.laddr for one in sockets if one.laddr and not one.raddr] == []


def test_unix_sockets_are_in_directories_of_the_deployments_user(deployment: Deployment) -> None:
    for connection in find_sockets(deployment, "unix"):
        path = Path(str(connection.laddr).removeprefix("\0"))
        if path.is_absolute():
            about = path.parent.stat()
            assert about.st_uid == os.getuid(), path
            assert not about.st_mode & 0o022, path


@needs_program("ss", "iproute2")
def test_the_kernel_shows_the_declared_ports_on_loopback_only(deployment: Deployment) -> None:
    """As `ss` lists them, whatever process has the socket."""
    listed = subprocess.run(["ss", "-Hltun"], capture_output=True, text=True, check=True).stdout
    addresses = [line.split()[4].rsplit(":", 1) for line in listed.splitlines()]
    ours = {str(port) for port in deployment.ports.values()}
    found = {(address, port) for address, port in addresses if port in ours}
    assert {address for address, _ in found} == {"127.0.0.1"}


def test_no_secret_is_in_a_process_environment_or_the_log(
    deployment: Deployment,
) -> None:
    names = {name for node in load_graph(deployment).nodes().values() for name in node.credentials}
    values = {
        name: (deployment.paths.secrets / name).read_text(encoding="utf-8").strip()
        for name in names
        if (deployment.paths.secrets / name).is_file()
    }
    assert {"api_token", "b2_application_key"} <= set(values)
    for process in find_service_processes(deployment):
        text = "\0".join([*process.environ().values(), *process.cmdline()])
        named = {name for name, value in values.items() if value and value in text}
        if process.name() in BUCKET_CLIENTS:
            named -= {"b2_key_id", "b2_application_key"}
        assert not named, f"{process.name()} shows {sorted(named)}"
    assert not [value for value in values.values() if value in deployment.paths.log.read_text()]


def test_secret_files_are_private(deployment: Deployment) -> None:
    assert stat.S_IMODE(deployment.paths.secrets.stat().st_mode) == 0o700
    for file in deployment.paths.secrets.rglob("*"):
        mode = stat.S_IMODE(file.stat().st_mode)
        assert not mode & 0o077, f"{file} has mode {mode:o}"


async def test_without_the_engines_commands_are_answered_degraded(deployment: Deployment) -> None:
    pid = deployment.kill("gpu")
    await wait_until(lambda: not psutil.pid_exists(pid))
    head = {"Authorization": f"Bearer {deployment.token}"}
    url = f"{deployment.url('api')}/v1/command"
    async with httpx.AsyncClient(headers=head, timeout=10) as client:

        async def ask(utterance: str) -> dict[str, Any]:
            answer = await client.post(url, json={"utterance": utterance})
            return dict(answer.json())

        assert (await ask("what time is it"))["degraded"] == []  # words suffice
        found = await ask("time check")
        assert found["reply"]
        assert "gpu" in found["degraded"], found

        async def well() -> bool:
            return "gpu" not in (await ask("time check"))["degraded"]

        await eventually(well)
    done = deployment.run_cli("health", "--json", "--wait", "60")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)
