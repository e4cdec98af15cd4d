"""The rendered units of barnabee-core and barnabee-gpu under a real systemd: they boot, and come back.

Sandboxing, credentials, readiness, watchdog and order are systemd's own; engines, models, database,
Redis and Litestream are real. Memory limits are not seen where the kernel keeps that controller in
the first version of its groups; the deep probe is part of being well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barnabee.core import system
from support import rendered
from support.boot import Machine, why_not
from support.nix import ROOT, evaluate, needs_nixpkgs

pytestmark = [
    pytest.mark.long,
    needs_nixpkgs,
    pytest.mark.skipif(bool(why_not()), reason=str(why_not())),
    pytest.mark.timeout(420),
]
GRAPH = system.load(ROOT / "system.toml")
CORE, GPU = "10.77.0.12", "10.77.0.11"
SERVICES = ("redis", "litestream", "worker", "api", "voice", "gpu")
UNUSED = ("azure_openai_key", "home_assistant_token")
PATIENCE = 4  # what the house promises is for a machine that does nothing else


def report(host: str, extra: str) -> Any:
    return evaluate(f'hosts.report "{host}" ({extra})')


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("boot")
    unused = " ".join(f'"{name}"' for name in UNUSED)
    core = report(
        "barnabee-core",
        f"{{ lib, ... }}: {{ barnabee.standby.enable = lib.mkForce false;"
        f" barnabee.secrets.unused = [ {unused} ];"
        f' barnabee.settings.BARNABEE_REPLICA_ENDPOINT = "http://{CORE}:{rendered.S3_PORT}"; }}',
    )
    gpu = report(
        "barnabee-gpu",
        "{ lib, pkgs, ... }: { barnabee.gpu.card = false; barnabee.package = pkgs.barnabee;"
        " barnabee.models = pkgs.barnabee-models-cpu; }",
    )
    needed = {name for node in GRAPH.service.values() for name in node.credentials} - set(UNUSED)
    fillers = rendered.fillers(folder / "fillers")
    found = Machine(
        folder,
        secrets=dict.fromkeys(sorted(needed), rendered.SECRET),
        binds=rendered.binds(fillers, rendered.programs(folder / "programs")),
    )
    try:
        found.prepare()
        rendered.install(found, core)
        rendered.install(found, {**gpu, "units": only(gpu["units"], "barnabee-gpu.service")})
        rendered.surroundings(found, [CORE, GPU])
        for wanted in ("barnabee.target", "barnabee-healthy.target"):
            found.link(f"/etc/systemd/system/proof.target.wants/{wanted}", f"../{wanted}")
        found.start()
        yield found
    finally:
        found.end()


def only(units: dict[str, str], name: str) -> dict[str, str]:
    return {name: units[name]}


def is_active(machine: Machine, unit: str) -> bool:
    return machine.show(unit, "ActiveState") == "active"


def settled(machine: Machine) -> bool:
    state = machine.show("barnabee-health.service", "ActiveState")
    return state == "failed" or is_active(machine, "barnabee-healthy.target")


def moment_s(machine: Machine, unit: str, name: str = "ActiveEnterTimestampMonotonic") -> float:
    return int(machine.show(unit, name)) / 1e6


def told(machine: Machine) -> str:
    failed = machine.run("systemctl", "list-units", "--all", "--no-pager", "barnabee*").stdout
    lines = [
        machine.journal(f"barnabee-{name}.service") for name in (*SERVICES, "restore", "health")
    ]
    return "\n".join([failed, *lines])


def test_a_cold_boot_reaches_the_healthy_target(machine: Machine) -> None:
    limit_s = GRAPH.acceptance.healthy_s * PATIENCE
    machine.until(lambda: settled(machine), limit_s)
    assert is_active(machine, "barnabee-healthy.target"), told(machine)
    begun = int(machine.show("", "UserspaceTimestampMonotonic")) / 1e6
    well = moment_s(machine, "barnabee-healthy.target")
    print(machine.show("", "Version"), f"healthy {well - begun:.1f} s after systemd's start")
    for name in SERVICES:
        unit = f"barnabee-{name}.service"
        print(f"{name}: {moment_s(machine, unit) - begun:.1f} s")
        assert machine.show(unit, "NRestarts") == "0", told(machine)
