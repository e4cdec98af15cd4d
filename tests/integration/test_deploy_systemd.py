"""Switches under a real systemd: transient units, the watch's timer, the gate, the journal.

Generations are folders whose bin/switch-to-configuration exchanges a real unit. What is not there
is Nix (its profile is a link that a script keeps) and a boot loader.
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

from support import rendered
from support.boot import Machine, why_not
from support.nix import ROOT, evaluate, needs_nixpkgs

pytestmark = [
    pytest.mark.alone,
    needs_nixpkgs,
    pytest.mark.skipif(bool(why_not()), reason=str(why_not())),
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
systemctl restart house-api.service
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
ExecStart=/bin/sh -c 'systemctl is-active --quiet house-api || { echo the api is gone; exit 1; }; \
test ! -e /run/current-system/unwell || { sleep 2; echo the api answers 500; exit 1; }'
"""
ENDS_S = 120


def generation(machine: Machine, name: str, *, unwell: bool = False) -> str:
    where = f"/gen/{name}"
    facts = {
        "kernel": None,
        "driver": None,
        "schema": 2,
        "data": None,
        "limits": LIMITS,
        "checks": ["house-health.service"],
        "program": "/usr/local/bin/barnabee",
    }
    machine.write(f"{where}/etc/barnabee/deploy.json", json.dumps(facts))
    machine.write(f"{where}/bin/switch-to-configuration", ACTIVATE, 0o755)
    if unwell:
        machine.write(f"{where}/unwell", "")
    return where


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    binds = {
        Path(sys.base_prefix): rendered.PYTHON,
        Path(sysconfig.get_path("purelib")): rendered.PACKAGES,
        ROOT / "src": rendered.SOURCE,
    }
    found = Machine(tmp_path, binds=binds)
    try:
        found.prepare()
        _furnish(found)
        found.start()
        yield found
    finally:
        found.end()


def _furnish(machine: Machine) -> None:
    text = evaluate(f'(hosts.report "beast" {{ }}).units."{GATE}"')
    report = {"units": {GATE: text}, "wantedBy": {GATE: ["proof.target"]}, "folders": []}
    rendered.install(machine, report)
    # The store paths of Nix are not here, so the gate's PATH leads nowhere; the machine's does.
    machine.write(f"/etc/systemd/system/{GATE}.d/path.conf", "[Service]\nEnvironment=PATH=" + PATH)
    program = re.search(r"/nix/store/\S+/bin/barnabee", text)
    assert program
    machine.link("/usr/local/bin/barnabee", program[0])
    machine.write("/usr/local/bin/nix-env", (LIB / "bin/nix-env").read_text(), 0o755)
    machine.write("/etc/systemd/system/house-api.service", API)
    machine.write("/etc/systemd/system/house-health.service", HEALTH)
    machine.link("/etc/systemd/system/proof.target.wants/house-api.service", "../house-api.service")
    old = generation(machine, "old")
    machine.link(f"{PROFILE}-1-link", old)
    machine.link(PROFILE, "system-1-link")
    machine.write("/etc/tmpfiles.d/system.conf", f"L+ /run/current-system - - - - {PROFILE}\n")


PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def ask(machine: Machine, *words: str) -> Any:
    return machine.run("/usr/bin/env", f"PATH={PATH}", "barnabee", *words)


def newest(machine: Machine) -> Any:
    listed = ask(machine, "deploys").stdout.split("\n")
    return json.loads(ask(machine, "deploys", "show", listed[-2].split()[0], "--json").stdout)


def running(machine: Machine) -> str:
    return str(machine.run("readlink", "-f", "/run/current-system").stdout.strip())


def expect_back(machine: Machine, why: str) -> None:
    ended = machine.until(lambda: newest(machine)["state"] == "returned", ENDS_S)
    record = newest(machine)
    assert ended is not None, (record, machine.journal("barnabee-deploy-watch.service"))
    assert why in record["why"], record
    assert record["well"] is True, record
    assert running(machine) == "/gen/old"
    quiet = machine.until(lambda: not armed(machine), ENDS_S)
    assert quiet is not None, "the watch goes on for ever"


def armed(machine: Machine) -> bool:
    return machine.show("barnabee-deploy-watch.timer", "ActiveState") == "active"


def begin(machine: Machine, target: str) -> str:
    done = ask(machine, "switch", target, "--detach")
    assert done.returncode == 0, done.stderr
    checking = machine.until(lambda: newest(machine)["state"] == "checking", ENDS_S)
    assert checking is not None, newest(machine)
    assert armed(machine)
    return f"barnabee-switch-{done.stdout.split()[-1]}.service"


def test_it_is_kept_taken_back_and_brought_back_from_kill_and_power_cut(machine: Machine) -> None:
    new, bad = generation(machine, "new"), generation(machine, "bad", unwell=True)
    gate = machine.until(lambda: machine.show(GATE, "ActiveState") == "active", ENDS_S)
    assert gate is not None, machine.journal(GATE)

    done = ask(machine, "switch", bad)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "went back to old and it is well" in done.stdout
    expect_back(machine, "house-health.service: the api answers 500")  # the unit's own last words

    unit = begin(machine, bad)
    assert machine.run("systemctl", "kill", "--signal=KILL", unit).returncode == 0
    expect_back(machine, "the switch stopped by itself while checking")

    begin(machine, bad)
    _cut_the_power(machine)
    gate = machine.until(lambda: machine.show(GATE, "ActiveState") == "active", ENDS_S)
    assert gate is not None, machine.journal(GATE)
    expect_back(machine, "the machine restarted while checking")

    done = ask(machine, "switch", new)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert running(machine) == new
    assert machine.run("readlink", "-f", PROFILE).stdout.strip() == new
    done = ask(machine, "rollback")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert running(machine) == "/gen/old"


def _cut_the_power(machine: Machine) -> None:
    assert machine.process
    os.kill(machine.leader, signal.SIGKILL)  # its PID 1, and with it all of it
    machine.process.wait()
    machine.start()
