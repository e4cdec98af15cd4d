"""The supervisor of systemd units under a real systemd: hung services and failed ones."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.rendered_units import PACKAGES, PYTHON, SOURCE
from support.systemd_container import Container, needs_container
from support.wait import LAST_RESORT_S

pytestmark = [pytest.mark.alone, needs_container, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = "/opt/barnabee/support"
SECRET, FIXED = "/run/some_secret", "/run/fixed"
WORKER, LITESTREAM = "barnabee-worker.service", "barnabee-litestream.service"
# The options of hardening.nix and health.nix that take something away from root.
SANDBOX = """\
CapabilityBoundingSet=CAP_KILL CAP_SYS_ADMIN
NoNewPrivileges=yes
PrivateDevices=yes
PrivateIPC=yes
PrivateTmp=yes
ProcSubset=pid
ProtectControlGroups=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077
"""


INTERPRETER = f"{PYTHON}/" + str(
    Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
)
VARIABLES = (
    f"PYTHONPATH={SOURCE}:{PACKAGES}",
    f"LD_LIBRARY_PATH={PYTHON}/lib",
    "BARNABEE_SYSTEM=/etc/system.toml",
)


def make_unit(command: str, rest: str) -> str:
    return f"""\
[Unit]
PartOf=barnabee.target
[Service]
Environment={" ".join(VARIABLES)}
ExecStart={command.replace("PYTHON", INTERPRETER)}
{rest}"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    binds = {
        Path(sys.base_prefix): PYTHON,
        Path(sysconfig.get_path("purelib")): PACKAGES,
        ROOT / "src": SOURCE,
        ROOT / "tests/support": SUPPORT,
    }
    found = Container(tmp_path_factory.mktemp("supervisor"), binds=binds)
    worker = make_unit(f"PYTHON {SUPPORT}/fake_service.py --port 8002", "Restart=always\n")
    litestream = make_unit(f"/bin/sh -c 'test -e {FIXED} || exit 2; exec sleep 600'", "")
    supervised = "--at worker=127.0.0.1 --at litestream=127.0.0.1"
    supervisor = make_unit(
        f"PYTHON -m barnabee supervise {supervised} --file {SECRET}", f"Type=notify\n{SANDBOX}"
    )
    units = {WORKER: worker, LITESTREAM: litestream, "barnabee-supervisor.service": supervisor}
    try:
        found.prepare()
        found.write("/etc/system.toml", (ROOT / "system.toml").read_text(encoding="utf-8"))
        for name, text in units.items():
            found.write(f"/etc/systemd/system/{name}", text)
        wants = f"[Unit]\nWants={' '.join(units)}\n"
        found.write("/etc/systemd/system/barnabee.target", wants)
        found.link("/etc/systemd/system/proof.target.wants/barnabee.target", "../barnabee.target")
        found.start()
        yield found
    finally:
        found.stop()


def describe(machine: Container) -> str:
    return machine.journal("barnabee-supervisor.service") + machine.journal(WORKER)


def test_a_stopped_service_is_killed_and_restarts(machine: Container) -> None:
    supervisor = "barnabee-supervisor.service"
    assert machine.wait_until(lambda: machine.is_active(supervisor), LAST_RESORT_S), describe(
        machine
    )
    before = machine.show(WORKER, "MainPID")
    assert machine.run("systemctl", "kill", "--signal=STOP", WORKER).returncode == 0

    def is_replaced() -> bool:
        return machine.is_active(WORKER) and machine.show(WORKER, "MainPID") != before

    took_s = machine.wait_until(is_replaced, LAST_RESORT_S)
    assert took_s is not None, describe(machine)
    print(f"hung, killed and restarted after {took_s:.1f} s")
    assert '"event":"hangs"' in machine.journal(supervisor)


def test_a_failed_service_starts_when_a_secret_changes(machine: Container) -> None:
    def is_noticed() -> bool:
        return '"service":"litestream"' in machine.journal("barnabee-supervisor.service")

    assert machine.show(LITESTREAM, "ActiveState") == "failed"
    assert machine.wait_until(is_noticed, LAST_RESORT_S) is not None, describe(machine)
    machine.run("touch", FIXED, SECRET)
    # the first try by time alone comes after a minute
    took_s = machine.wait_until(lambda: machine.is_active(LITESTREAM), 50)
    assert took_s is not None, describe(machine)


def test_restart_replaces_the_process_of_a_unit(machine: Container) -> None:
    before = machine.show(WORKER, "MainPID")
    units = f"BARNABEE_UNITS=barnabee.target {WORKER}"
    command = ("env", *VARIABLES, units, INTERPRETER, "-m", "barnabee", "restart")
    done = machine.run(*command, "worker")
    assert (done.returncode, done.stdout) == (0, "restarted worker\n"), done.stderr
    assert machine.show(WORKER, "MainPID") not in {before, "0"}
    refused = machine.run(*command, "piano")
    assert refused.returncode == 2
    assert "There is no service 'piano'; known are api, " in refused.stderr
