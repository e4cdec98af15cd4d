"""Switches under a real systemd: transient units, the watchdog timer, the gate, the journal.

Generations are directories whose bin/switch-to-configuration replaces a real unit. Nix (its profile
is a link kept by a script) and a boot loader are missing.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import rendered_units
from support.nix import ROOT, evaluate, needs_nixpkgs
from support.systemd_container import Container, needs_container

pytestmark = [
    pytest.mark.alone,
    needs_nixpkgs,
    needs_container,
    pytest.mark.timeout(420),
]
LIB = ROOT / "tests/data/deploy"
PROFILE = "/nix/var/nix/profiles/system"
GATE = "barnabee-boot-gate.service"
LIMITS = {
    "switch_s": 60,
    "settle_s": 8,
    "confirm_s": 5,
    "data_s": 30,
    "watch_every_s": 2,
    "records_kept": 20,
}
ACTIVATE = """#!/bin/sh
set -eu
[ "$1" = test ] || exit 0
me=$(dirname "$(dirname "$(readlink -f "$0")")")
ln -sfn "$me" /run/current-system
systemctl restart test-api.service
"""
API = """[Service]
Type=exec
ExecStart=/bin/sh -c 'exec sleep infinity'
"""
HEALTH = """[Unit]
StartLimitIntervalSec=0
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'systemctl is-active --quiet test-api || { echo the api is gone; exit 1; }; \
test ! -e /run/current-system/unwell || { sleep 2; echo the api answers 500; exit 1; }'
"""
ENDS_S = 120


def make_generation(machine: Container, name: str, *, unhealthy: bool = False) -> str:
    directory = f"/gen/{name}"
    facts = {
        "kernel": None,
        "driver": None,
        "schema": 2,
        "data": None,
        "limits": LIMITS,
        "checks": ["test-health.service"],
        "program": "/usr/local/bin/barnabee",
    }
    machine.write(f"{directory}/etc/barnabee/deploy.json", json.dumps(facts))
    machine.write(f"{directory}/bin/switch-to-configuration", ACTIVATE, 0o755)
    if unhealthy:
        machine.write(f"{directory}/unwell", "")
    return directory


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Container]:
    binds = {
        Path(sys.base_prefix): rendered_units.PYTHON,
        Path(sysconfig.get_path("purelib")): rendered_units.PACKAGES,
        ROOT / "src": rendered_units.SOURCE,
    }
    found = Container(tmp_path, binds=binds)
    try:
        found.prepare()
        _install_units(found)
        found.start()
        yield found
    finally:
        found.stop()


def _install_units(machine: Container) -> None:
    text = evaluate(f'(hosts.report "beast" {{ }}).units."{GATE}"')
    report = {"units": {GATE: text}, "wantedBy": {GATE: ["proof.target"]}, "folders": []}
    rendered_units.install_units(machine, report)
    # The unit's PATH has store paths that do not exist here.
    machine.write(f"/etc/systemd/system/{GATE}.d/path.conf", "[Service]\nEnvironment=PATH=" + PATH)
    program = re.search(r"/nix/store/\S+/bin/barnabee", text)
    assert program
    machine.link("/usr/local/bin/barnabee", program[0])
    machine.write("/usr/local/bin/nix-env", (LIB / "bin/nix-env").read_text(), 0o755)
    machine.write("/etc/systemd/system/test-api.service", API)
    machine.write("/etc/systemd/system/test-health.service", HEALTH)
    machine.link("/etc/systemd/system/proof.target.wants/test-api.service", "../test-api.service")
    old = make_generation(machine, "old")
    machine.link(f"{PROFILE}-1-link", old)
    machine.link(PROFILE, "system-1-link")
    machine.write("/etc/tmpfiles.d/system.conf", f"L+ /run/current-system - - - - {PROFILE}\n")


PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def run_barnabee(machine: Container, *words: str) -> Any:
    return machine.run("/usr/bin/env", f"PATH={PATH}", "barnabee", *words)


def newest_record(machine: Container) -> Any:
    listed = run_barnabee(machine, "deploys").stdout.split("\n")
    return json.loads(
        run_barnabee(machine, "deploys", "show", listed[-2].split()[0], "--json").stdout
    )


def running_system(machine: Container) -> str:
    return str(machine.run("readlink", "-f", "/run/current-system").stdout.strip())


def expect_rolled_back(machine: Container, why: str) -> None:
    ended = machine.wait_until(lambda: newest_record(machine)["state"] == "returned", ENDS_S)
    record = newest_record(machine)
    assert ended is not None, (record, machine.journal("barnabee-deploy-watch.service"))
    assert why in record["why"], record
    assert record["well"] is True, record
    assert running_system(machine) == "/gen/old"
    quiet = machine.wait_until(lambda: not is_watchdog_armed(machine), ENDS_S)
    assert quiet is not None, "the watchdog is still armed"


def is_watchdog_armed(machine: Container) -> bool:
    return machine.show("barnabee-deploy-watch.timer", "ActiveState") == "active"


def start_switch(machine: Container, target: str) -> str:
    done = run_barnabee(machine, "switch", target, "--detach")
    assert done.returncode == 0, done.stderr
    checking = machine.wait_until(lambda: newest_record(machine)["state"] == "checking", ENDS_S)
    assert checking is not None, newest_record(machine)
    assert is_watchdog_armed(machine)
    return f"barnabee-switch-{done.stdout.split()[-1]}.service"


def test_switches_are_kept_or_rolled_back_also_after_kill_and_power_cut(machine: Container) -> None:
    new, bad = make_generation(machine, "new"), make_generation(machine, "bad", unhealthy=True)
    gate = machine.wait_until(lambda: machine.show(GATE, "ActiveState") == "active", ENDS_S)
    assert gate is not None, machine.journal(GATE)

    done = run_barnabee(machine, "switch", bad)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "rolled back to old, which is healthy" in done.stdout
    expect_rolled_back(machine, "test-health.service: the api answers 500")

    unit = start_switch(machine, bad)
    assert machine.run("systemctl", "kill", "--signal=KILL", unit).returncode == 0
    expect_rolled_back(machine, "the switch stopped by itself while checking")

    start_switch(machine, bad)
    _cut_power(machine)
    gate = machine.wait_until(lambda: machine.show(GATE, "ActiveState") == "active", ENDS_S)
    assert gate is not None, machine.journal(GATE)
    expect_rolled_back(machine, "the machine restarted while checking")

    done = run_barnabee(machine, "switch", new)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert running_system(machine) == new
    assert machine.run("readlink", "-f", PROFILE).stdout.strip() == new
    done = run_barnabee(machine, "rollback")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert running_system(machine) == "/gen/old"


def _cut_power(machine: Container) -> None:
    assert machine.process
    os.kill(machine.leader, signal.SIGKILL)  # PID 1 of the container
    machine.process.wait()
    machine.start()
