# ruff: noqa: F821 - the names are those of the NixOS test driver and of default.nix
"""What stands before the script of every check: addresses, requests, and the last assertion."""

import json
import os
import signal
import threading
import time
from typing import Any

MARGIN_S = 60  # for a slow test machine
SERVICES = ("api", "voice", "worker", "litestream", "redis", "restore")
HEADERS = f"-H 'Authorization: Bearer {SECRET}' -H 'Content-Type: application/json'"


def read_notifications() -> None:
    """Read what the systemd of each container reports, for ever.

    It reports every job that takes 25 s, and stops when nobody reads; the driver reads until the
    container has booted.
    """
    while True:
        for machine in machines:
            if "get_systemd_process" in vars(machine):
                getattr(machine, "_poll_socket")()  # noqa: B009 - not of a virtual machine
        time.sleep(0.2)


def wait_for(machine: Any, unit: str, limit_s: int) -> None:
    """Wait until a unit is active; wait_for_unit fails for one that something starts later."""
    machine.wait_until_succeeds(f"systemctl is-active {unit}", timeout=limit_s)


def start_services() -> None:
    """Start all machines, and wait until those of the services are ready."""
    start_all()
    backup.wait_for_unit("s3.service")
    gpu.wait_for_unit("barnabee-gpu.service")
    wait_for(core, "barnabee-healthy.target", HEALTHY_S + MARGIN_S)


def stop_services() -> None:
    """Stop the services of core, and wait for each, for which naming the target is not enough."""
    units = " ".join(f"barnabee-{name}.service" for name in SERVICES)
    core.succeed(f"systemctl stop barnabee-healthy.target barnabee.target {units}")


def service_url(machine: Any, service: str) -> str:
    """Return the URL of a service at the address of a machine."""
    return f"http://{ADDRESS[machine.name]}:{PORT[service]}"


def send_command(machine: Any, utterance: str) -> dict[str, Any]:
    """Send a command to the API of a machine, on which it comes from, and return the response."""
    body = json.dumps({"utterance": utterance})
    url = f"{service_url(machine, 'api')}/v1/command"
    response: dict[str, Any] = json.loads(machine.succeed(f"curl -fsS {HEADERS} -d '{body}' {url}"))
    return response


def wait_for_turn(machine: Any, trace_id: str) -> None:
    """Wait until the database of a machine has a turn."""
    url = f"{service_url(machine, 'api')}/v1/turns/{trace_id}"
    machine.wait_until_succeeds(f"curl -fsS {HEADERS} {url}", timeout=30)


def crash(machine: Any) -> None:
    """End a machine at once, as a power loss does; its disk stays."""
    if hasattr(machine, "crash"):
        machine.crash()
        return
    os.kill(machine.get_systemd_process, signal.SIGKILL)
    machine.wait_for_shutdown()
    vars(machine).pop("get_systemd_process")  # it is cached, and the next boot has another


def running_system() -> str:
    """Return the store path of core's running system."""
    return core.succeed("readlink -f /run/current-system").strip()


def default_system() -> str:
    """Return the store path of core's boot default."""
    return core.succeed("readlink -f /nix/var/nix/profiles/system").strip()


def read_switch(switch: str) -> dict[str, Any]:
    """Return the journal entry of a switch."""
    record: dict[str, Any] = json.loads(core.succeed(f"barnabee deploys show {switch} --json"))
    return record


def read_latest_switch() -> dict[str, Any]:
    """Return the journal entry of the latest switch."""
    return read_switch(core.succeed("barnabee deploys | tail -n 1 | cut -d ' ' -f 1").strip())


def start_switch(system: str) -> str:
    """Start a switch, wait until it checks the health of the system, and return its id."""
    switch = core.succeed(f"barnabee-switch --detach {system}").strip().splitlines()[-1]
    wait_for_state(switch, "checking")
    return switch


def wait_for_state(switch: str, state: str) -> None:
    """Wait until a switch is in a state."""
    shown = f'barnabee deploys show {switch} --json | grep \'"state": "{state}"\''
    core.wait_until_succeeds(shown, timeout=2 * SWITCH_S)


def assert_healthy(system: str) -> None:
    """Assert that core runs a system, which is its boot default, and its services are healthy."""
    assert running_system() == default_system() == system, (running_system(), default_system())
    core.succeed("systemctl restart barnabee-health.service", timeout=HEALTHY_S + 30)
    core.succeed("systemctl is-active barnabee-api.service")


def assert_sound(*failed: str) -> None:
    """Assert that only the units `failed` failed, without ordering cycles and tracebacks."""
    for machine in machines:
        units = machine.succeed("systemctl list-units --failed --plain --no-legend --no-pager")
        unexpected = {line.split()[0] for line in units.splitlines()} - set(failed)
        assert not unexpected, f"{machine.name}: {sorted(unexpected)} failed"
        machine.fail(
            "(systemd-analyze verify default.target 2>&1 || true) | grep -F 'ordering cycle'"
        )
        traces = "journalctl --no-pager -o cat | grep -F -B 2 -A 30 'Traceback (most recent call'"
        status, lines = machine.execute(traces)
        assert status != 0, f"{machine.name}: {lines}"


threading.Thread(target=read_notifications, daemon=True).start()
