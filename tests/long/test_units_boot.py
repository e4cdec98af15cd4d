"""Boot and recovery of the rendered units of barnabee-core and barnabee-gpu under a real systemd.

Sandboxing, credentials, readiness, watchdog and ordering are real, and so are engines, models,
database, Redis and Litestream; the health check includes the deep probe. Memory limits are not
tested where the kernel has the memory controller in cgroup v1.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from barnabee.core import graph, system
from support import rendered_units
from support.nix import ROOT, evaluate, needs_nixpkgs
from support.rendered_units import S3_PORT
from support.systemd_container import Container, needs_container

pytestmark = [
    pytest.mark.alone,
    needs_nixpkgs,
    needs_container,
    pytest.mark.timeout(420),
]
GRAPH = system.load_system(ROOT / "system.toml")
CORE, GPU = "10.77.0.12", "10.77.0.11"
ENDPOINT = f"http://{CORE}:{rendered_units.S3_PORT}"
SERVICES = ("redis", "litestream", "worker", "api", "voice", "gpu")
UNUSED = ("home_assistant_token",)
TIME_FACTOR = 4  # the limits are for a machine that does nothing else


def report(host: str, extra: str) -> Any:
    return evaluate(f'hosts.report "{host}" ({extra})')


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("boot")
    unused = " ".join(f'"{name}"' for name in UNUSED)
    core = report(
        "barnabee-core",
        f"{{ lib, ... }}: {{ barnabee.standby.enable = lib.mkForce false;"
        f" barnabee.secrets.unused = [ {unused} ];"
        f' barnabee.settings.BARNABEE_REPLICA_ENDPOINT = "http://{CORE}:{S3_PORT}"; }}',
    )
    gpu = report(
        "barnabee-gpu",
        "{ lib, pkgs, ... }: { barnabee.gpu.enable = false; barnabee.package = pkgs.barnabee;"
        " barnabee.models = pkgs.barnabee-models-cpu; }",
    )
    needed = {name for node in GRAPH.service.values() for name in node.credentials} - set(UNUSED)
    fillers = rendered_units.make_fillers(folder / "fillers")
    found = Container(
        folder,
        secrets=dict.fromkeys(sorted(needed), rendered_units.SECRET),
        binds=rendered_units.list_bind_mounts(
            fillers, rendered_units.collect_programs(folder / "programs")
        ),
    )
    try:
        found.prepare()
        # Here both hosts are one machine, whose tokens one unit writes.
        tokens = core["units"]["barnabee-tokens.service"]
        core["units"]["barnabee-tokens.service"] = tokens.replace(
            "--create ", "--create gpu/tokens.json "
        )
        rendered_units.install_units(found, core)
        unit = {"barnabee-gpu.service": gpu["units"]["barnabee-gpu.service"]}
        rendered_units.install_units(found, {**gpu, "units": unit})
        rendered_units.install_environment(found, [CORE, GPU])
        found.start()
        yield found
    finally:
        found.stop()


def is_settled(machine: Container) -> bool:
    state = machine.show("barnabee-health.service", "ActiveState")
    return state == "failed" or machine.is_active("barnabee-healthy.target")


def read_time_s(
    machine: Container, unit: str, name: str = "ActiveEnterTimestampMonotonic"
) -> float:
    return int(machine.show(unit, name)) / 1e6


def describe_units(machine: Container) -> str:
    failed = machine.run("systemctl", "list-units", "--all", "--no-pager", "barnabee*").stdout
    others = ("lease", "restore", "health", "tokens")
    lines = [machine.journal(f"barnabee-{name}.service") for name in (*SERVICES, *others)]
    return "\n".join([failed, *lines])


def test_a_cold_boot_reaches_the_healthy_target(machine: Container) -> None:
    limit_s = GRAPH.acceptance.healthy_s * TIME_FACTOR
    machine.wait_until(lambda: is_settled(machine), limit_s)
    assert machine.is_active("barnabee-healthy.target"), describe_units(machine)
    begun = int(machine.show("", "UserspaceTimestampMonotonic")) / 1e6
    well = read_time_s(machine, "barnabee-healthy.target")
    print(machine.show("", "Version"), f"healthy {well - begun:.1f} s after systemd's start")
    for name in SERVICES:
        unit = f"barnabee-{name}.service"
        print(f"{name}: {read_time_s(machine, unit) - begun:.1f} s")
        assert machine.show(unit, "NRestarts") == "0", describe_units(machine)


def test_units_start_in_the_order_of_the_graph(machine: Container) -> None:
    # gpu runs on another machine in production: nothing here is ordered after it
    core = {name: node for name, node in GRAPH.service.items() if node.role == "core"}
    for name, others in graph.compute_start_dependencies(core).items():
        began = read_time_s(machine, f"barnabee-{name}.service", "InactiveExitTimestampMonotonic")
        for other in others:
            assert read_time_s(machine, f"barnabee-{other}.service") <= began, (name, other)


def test_systemd_analyze_reports_only_options_newer_than_itself(machine: Container) -> None:
    units = [f"barnabee-{name}.service" for name in (*SERVICES, "restore", "health")]
    output = machine.run("systemd-analyze", "verify", "barnabee-healthy.target", *units).stderr
    ours = [line for line in output.splitlines() if "barnabee" in line]
    newer = re.compile(r"Unknown key (name )?'(RestartSteps|RestartMaxDelaySec|RestartMode)'")
    assert [line for line in ours if not newer.search(line)] == []
    assert "cycle" not in machine.run("journalctl", "-b", "--no-pager").stdout


@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_service_restarts_and_all_are_healthy_again(machine: Container, name: str) -> None:
    unit = f"barnabee-{name}.service"
    before = machine.show(unit, "MainPID")
    killed = time.monotonic()
    assert machine.run("systemctl", "kill", "--signal=KILL", unit).returncode == 0

    def restarted() -> bool:
        return machine.is_active(unit) and machine.show(unit, "MainPID") not in {before, "0"}

    assert machine.wait_until(restarted, GRAPH.acceptance.recover_s * TIME_FACTOR) is not None, (
        describe_units(machine)
    )
    restart_s = time.monotonic() - killed
    again = machine.run("systemctl", "restart", "barnabee-health.service")
    assert again.returncode == 0, describe_units(machine)
    healthy_s = time.monotonic() - killed
    print(f"{name}: restarted after {restart_s:.1f} s, healthy after {healthy_s:.1f} s")
    for other in SERVICES:
        assert machine.is_active(f"barnabee-{other}.service"), describe_units(machine)


@pytest.mark.parametrize("name", ["redis", "litestream", "worker"])
def test_a_hanging_service_is_killed_by_the_supervisor(machine: Container, name: str) -> None:
    unit = f"barnabee-{name}.service"
    before = machine.show(unit, "MainPID")
    assert machine.run("systemctl", "kill", "--signal=STOP", unit).returncode == 0
    took_s = machine.wait_until(
        lambda: machine.is_active(unit) and machine.show(unit, "MainPID") != before,
        GRAPH.service[name].watchdog_s + GRAPH.acceptance.recover_s * TIME_FACTOR,
    )
    supervisor = machine.journal("barnabee-supervisor.service")
    assert took_s is not None, supervisor + describe_units(machine)
    print(f"{name}: killed and back after {took_s:.1f} s")
    assert f'"service":"{name}"' in supervisor


def test_a_service_sees_only_its_own_secrets_and_files(machine: Container) -> None:
    def inside(unit: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run as the unit's user in the unit's mount namespace."""
        pid, user = machine.show(unit, "MainPID"), machine.show(unit, "User")
        view = ["nsenter", f"--target={pid}", "--mount"]
        return machine.run(*view, "setpriv", f"--reuid={user}", "--clear-groups", *command)

    api = "/run/credentials/barnabee-api.service"
    assert inside("barnabee-api.service", "cat", f"{api}/api_token").stdout == rendered_units.SECRET
    for secret in (f"{api}/b2_key_id", "/run/credentials/barnabee-litestream.service/b2_key_id"):
        assert inside("barnabee-api.service", "cat", secret).returncode != 0
    assert inside("barnabee-worker.service", "cat", f"{api}/api_token").returncode != 0
    assert inside("barnabee-voice.service", "touch", "/data/mine").returncode != 0
    assert inside("barnabee-api.service", "touch", "/etc/mine").returncode != 0
    for unit in (f"barnabee-{name}.service" for name in SERVICES):
        pid = machine.show(unit, "MainPID")
        status = machine.run("cat", f"/proc/{pid}/status").stdout
        assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE), unit
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE), unit
        assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE), unit


def test_the_database_is_replicated(machine: Container) -> None:
    modes = machine.run("stat", "--format=%a %G", "/data/barnabee.db", "/data").stdout.split("\n")
    assert modes[:2] == ["660 barnabee", "2770 barnabee"]
    stored = machine.run("find", "/srv/s3", "-name", "*.ltx").stdout.split()
    assert stored
