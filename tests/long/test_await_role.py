"""Health checks and the role of the host that they ask, under a real systemd.

The units are those that NixOS renders; a script stands for `barnabee`, and the container is its own
guest. The role files are those of the lease keeper.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import rendered_units
from support.nix import evaluate, needs_nixpkgs
from support.systemd_container import Container, needs_container

pytestmark = [needs_nixpkgs, needs_container, pytest.mark.alone, pytest.mark.timeout(420)]
HEALTH, PROBE, API = (f"barnabee-{name}.service" for name in ("health", "probe", "api"))
ROLES = "/run/barnabee-lease"
WAIT_S = 4  # barnabee.health.waitSeconds
WITHIN_S = 60
EXTRA = (
    "{ lib, ... }: { barnabee.deploy.enable = lib.mkForce true;"
    f" barnabee.health.waitSeconds = {WAIT_S}; }}"
)
NOTHING = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
OVERRIDES = """[Unit]
Wants=
After=
[Service]
LoadCredential=
ExecStart=
ExecStart=/bin/echo asked {arguments}
Environment=PATH=/usr/local/bin:/usr/bin:/bin
"""


@pytest.fixture(params=["beast", "barnabee-core"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def machine(host: str, tmp_path: Path) -> Iterator[Container]:
    report: Any = evaluate(f'hosts.report "{host}" ({EXTRA})')
    report["units"] = {name: report["units"][name] for name in (HEALTH, PROBE)}
    report["wantedBy"] = {name: [] for name in report["units"]}
    found = Container(tmp_path)
    try:
        found.prepare()
        rendered_units.install_units(found, report)
        for name, text in report["units"].items():
            command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
            arguments = command.partition("/bin/barnabee ")[2]
            override = OVERRIDES.format(arguments=arguments)
            found.write(f"/etc/systemd/system/{name}.d/test.conf", override)
        found.write(f"/etc/systemd/system/{API}", NOTHING)
        found.write("/usr/local/bin/machinectl", "#!/bin/sh\necho 1\n", 0o755)
        found.start()
        found.run("mkdir", "-m", "755", ROLES)
        yield found
    finally:
        found.stop()


def take_role(machine: Container, role: str) -> None:
    machine.run("find", ROLES, "-type", "f", "-delete")
    machine.run("touch", f"{ROLES}/{role}")


def read_new_lines(machine: Container, unit: str) -> str:
    """Return what the unit has said since the last call."""
    command = ("journalctl", "--sync", "--cursor-file=/run/cursor", "-o", "cat", "-u", unit)
    machine.run(*command[:2])
    return machine.run(command[0], *command[2:]).stdout


def check(machine: Container, unit: str) -> tuple[int, str]:
    """Run a check as the gate does; return its status and what it said."""
    read_new_lines(machine, unit)
    status = machine.run("systemctl", "restart", unit).returncode
    return status, read_new_lines(machine, unit)


def test_a_host_that_follows_is_not_asked(machine: Container, host: str) -> None:
    api = "--at api=10.77.0.12"
    who = "this host" if host == "barnabee-core" else "barnabee-core"
    status, said = check(machine, PROBE)
    assert status != 0
    assert f"{who} has no role yet, after {WAIT_S} s" in said
    assert "asked" not in said

    take_role(machine, "serve")
    machine.run("systemctl", "start", API)
    status, said = check(machine, HEALTH)
    assert (status, "--at gpu=" in said, api in said) == (0, True, True), said
    status, said = check(machine, PROBE)
    assert (status, "asked probe" in said) == (0, True), said

    take_role(machine, "follow")
    status, said = check(machine, PROBE)
    assert (status, "asked" in said) == (0, False), said
    status, said = check(machine, HEALTH)
    assert (status, "--at gpu=" in said, api in said) == (0, host == "beast", False), said

    take_role(machine, "serve")  # again
    status, said = check(machine, HEALTH)
    assert (status, api in said) == (0, True), said


@pytest.mark.parametrize("host", ["barnabee-core"], indirect=True)
def test_the_probe_starts_once_when_the_api_is_active(machine: Container) -> None:
    take_role(machine, "serve")
    status, said = check(machine, PROBE)
    assert status != 0
    assert f"{API} is not active, after {WAIT_S} s" in said
    machine.run("systemctl", "restart", "--no-block", PROBE)
    starting = machine.wait_until(lambda: machine.show(PROBE, "SubState") == "condition", WITHIN_S)
    assert starting is not None, machine.journal(PROBE)
    machine.run("systemctl", "start", API)
    ended = machine.wait_until(lambda: machine.show(PROBE, "ActiveState") == "inactive", WITHIN_S)
    assert ended is not None, machine.journal(PROBE)
    assert machine.show(PROBE, "Result") == "success"
    assert machine.journal(PROBE).count("asked probe") == 1
