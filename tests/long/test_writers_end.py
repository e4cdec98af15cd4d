"""A restore and a follower start after every writer has ended, also one that ignores SIGTERM.

The dependencies are those that NixOS renders for barnabee-core, under a real systemd. Scripts stand
for the services: a writer takes 10 s to end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from barnabee.deploy.machine import DatabaseFacts, PinRef
from barnabee.deploy.nixos import NixosMachine
from support.nix import evaluate, needs_nixpkgs
from support.systemd_container import Container, needs_container

pytestmark = [needs_nixpkgs, needs_container, pytest.mark.alone, pytest.mark.timeout(420)]
WRITERS = ("api", "worker")
WRITER = """[Service]
Type=exec
ExecStart=/bin/bash -c 'trap "sleep 10; echo %N ended >>/log; exit" TERM; \
while :; do sleep 0.2; done'
"""
RESTORE = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo restored >>/log'\n"
FOLLOW = "[Service]\nType=exec\nExecStart=/bin/sh -c 'echo follows >>/log; exec sleep infinity'\n"
SCRIPTS = {
    **{f"barnabee-{name}.service": WRITER for name in WRITERS},
    "barnabee-rollback-data@.service": RESTORE,
    "barnabee-follow.service": FOLLOW,
}
KEPT = re.compile(r"^(?:After|Conflicts|PartOf)=.*$", re.MULTILINE)
ENDED = {f"barnabee-{name} ended" for name in WRITERS}
SERVE = "/run/barnabee-lease/serve"
WITHIN_S = 120


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Container]:
    units = evaluate('(hosts.report "barnabee-core" { }).units')
    found = Container(tmp_path)
    try:
        found.prepare()
        for name, script in SCRIPTS.items():
            dependencies = "\n".join(KEPT.findall(units[name]))
            found.write(f"/etc/systemd/system/{name}", f"[Unit]\n{dependencies}\n{script}")
        for name in ("barnabee.target", "barnabee-serve.path"):
            found.write(f"/etc/systemd/system/{name}", units[name])
        for name in WRITERS:
            wanted = f"/etc/systemd/system/barnabee.target.wants/barnabee-{name}.service"
            found.link(wanted, f"../barnabee-{name}.service")
        found.start()
        _redirect_systemctl(found, tmp_path, monkeypatch)
        found.run("mkdir", "-p", "/run/barnabee-lease")
        found.run("touch", SERVE)
        found.run("systemctl", "start", "barnabee-serve.path")
        wait_for_writers(found)
        yield found
    finally:
        found.stop()


def _redirect_systemctl(machine: Container, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `systemctl` of this process that of the container."""
    program = folder / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec nsenter --target={machine.leader} --all systemctl "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def wait_for_writers(machine: Container) -> None:
    units = [f"barnabee-{name}.service" for name in WRITERS]
    started = machine.wait_until(lambda: all(map(machine.is_active, units)), WITHIN_S)
    assert started is not None, machine.run("systemctl", "list-units", "barnabee*").stdout


def read_log(machine: Container) -> list[str]:
    return machine.run("cat", "/log").stdout.splitlines()


def test_a_restore_begins_when_the_last_writer_has_ended(machine: Container) -> None:
    data = DatabaseFacts(
        database="/data/barnabee.db",
        pin_unit="barnabee-pin.service",
        restore_unit="barnabee-rollback-data@",
        house="barnabee.target",
        start=("barnabee-serve.path",),
    )
    NixosMachine().restore_database(data, PinRef(id="1", txid=1, data_schema=1), WITHIN_S)
    *ended, last = read_log(machine)
    assert (set(ended), last) == (ENDED, "restored")
    # The role file is still there: nothing starts the services before they are asked for.
    assert not any(machine.is_active(f"barnabee-{name}.service") for name in WRITERS)
    NixosMachine().start_services(data)
    wait_for_writers(machine)


def test_a_follower_starts_when_the_last_writer_has_ended(machine: Container) -> None:
    machine.run("rm", SERVE)
    machine.run("systemctl", "start", "barnabee-follow.service")
    *ended, last = read_log(machine)
    assert (set(ended), last) == (ENDED, "follows")
