"""What the VM tests network, secrets and degradation ask of NixOS, asked of the local runner."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator

import httpx
import psutil
import pytest

from barnabee.core import system
from barnabee.core.schema import System
from barnabee.up import orphans
from support.wait import eventually
from support.whole_house import WholeHouse

pytestmark = [pytest.mark.long, pytest.mark.timeout(500)]
OWNERS_OF_THE_BUCKET = {"litestream", "rclone"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeHouse]:
    whole = WholeHouse(tmp_path_factory.mktemp("outside"), demo_home=False)
    try:
        # On a machine that does other things recording the phrases takes minutes.
        done = whole.cli("up", "-d", limit_s=300)
        assert done.returncode == 0, done.stderr + whole.tail()
        done = whole.cli("health", "--wait", "120", limit_s=150)
        assert done.returncode == 0, done.stdout + whole.tail()
        yield whole
    finally:
        whole.clean()


def processes(house: WholeHouse) -> list[psutil.Process]:
    found = orphans.find_processes(house.paths.run_id)
    assert len(found) >= len(graph(house).service) - 1  # restore has ended
    return found


def graph(house: WholeHouse) -> System:
    return system.load_system(house.system_file)


def test_every_socket_is_on_loopback_and_of_a_service_of_the_graph(house: WholeHouse) -> None:
    nodes = graph(house).nodes()
    declared = {node.port: name for name, node in nodes.items() if node.port is not None}
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in processes(house)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address for address, _ in listening} == {"127.0.0.1"}
    found = {port for _, port in listening}
    assert found <= set(declared), f"nobody declared {found - set(declared)}"
    services = graph(house).service
    assert {node.port for node in services.values() if node.port} <= found


def test_a_secret_is_in_the_environment_of_nobody_but_who_talks_to_the_bucket(
    house: WholeHouse,
) -> None:
    names = {name for node in graph(house).nodes().values() for name in node.credentials}
    values = {
        name: (house.paths.secrets / name).read_text(encoding="utf-8").strip()
        for name in names
        if (house.paths.secrets / name).is_file()
    }
    assert {"api_token", "b2_application_key"} <= set(values)
    for process in processes(house):
        text = "\0".join([*process.environ().values(), *process.cmdline()])
        named = {name for name, value in values.items() if value and value in text}
        if process.name() in OWNERS_OF_THE_BUCKET:
            named -= {"b2_key_id", "b2_application_key"}
        assert not named, f"{process.name()} shows {sorted(named)}"
    assert not [value for value in values.values() if value in house.paths.log.read_text()]


def test_secrets_are_files_of_their_owner_alone(house: WholeHouse) -> None:
    assert stat.S_IMODE(house.paths.secrets.stat().st_mode) == 0o700
    for file in house.paths.secrets.rglob("*"):
        mode = stat.S_IMODE(file.stat().st_mode)
        assert not mode & 0o077, f"{file} has mode {mode:o}"


async def test_without_the_engines_answers_go_on_and_everybody_is_told(house: WholeHouse) -> None:
    process = psutil.Process(house.kill("gpu"))
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    head = {"Authorization": f"Bearer {house.token}"}
    async with httpx.AsyncClient(headers=head, timeout=10) as client:
        answer = await client.post(
            f"{house.url('api')}/v1/command", json={"utterance": "what time is it"}
        )
        found = answer.json()
        assert found["reply"]
        assert found["degraded"] == ["gpu"], found

        async def well() -> bool:
            again = await client.post(
                f"{house.url('api')}/v1/command", json={"utterance": "what time is it"}
            )
            return again.json()["degraded"] == []

        await eventually(well, within_s=60)
    done = house.cli("health", "--json", "--wait", "60")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)
