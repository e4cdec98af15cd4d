"""Units of a primary with a standby under a real systemd: their reaction to the roles.

Only barnabee-core is booted; the test writes the other machine's lease object. Bindings, conflicts,
path units, sandbox and credentials are real.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from barnabee.core import system
from barnabee.standby.lease import LeaseRecord, LeaseState
from support import rendered_units
from support.nix import ROOT, evaluate, needs_nixpkgs
from support.systemd_container import Container, needs_container

pytestmark = [
    pytest.mark.alone,
    needs_nixpkgs,
    needs_container,
    pytest.mark.timeout(600),
]
GRAPH = system.load_system(ROOT / "system.toml")
CORE = "10.77.0.12"
SERVICES = ("redis", "restore", "litestream", "worker", "api")
ROLE_UNITS = ("serve", "replicate", "follow")
UNITS = (
    "barnabee-health.service",
    *("barnabee.target", "barnabee.slice", "barnabee-lease.service", "barnabee-follow.service"),
    *("barnabee-tokens.service", "barnabee-redis-passwords.service", "barnabee-supervisor.service"),
    *(f"barnabee-{name}.path" for name in ROLE_UNITS),
    *(f"barnabee-{name}.service" for name in SERVICES),
)
STARTED = ("barnabee-lease.service", "barnabee-redis.service")
STARTED += tuple(f"barnabee-{name}.path" for name in ROLE_UNITS if name != "replicate")
WITHIN_S = 180


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("pair")
    core: Any = evaluate(
        'hosts.report "barnabee-core" {'
        ' barnabee.secrets.unused = [ "home_assistant_token" ];'
        " barnabee.health.waitSeconds = 2;"
        f' barnabee.settings.BARNABEE_REPLICA_ENDPOINT = "http://{CORE}:{rendered_units.S3_PORT}";'
        " barnabee.system.standby.lease_s = 24; barnabee.system.standby.renew_s = 1; }"
    )
    core["units"] = {name: text for name, text in core["units"].items() if name in UNITS}
    names = ("api_token", "b2_key_id", "b2_application_key")
    fillers = folder / "fillers"
    fillers.mkdir()
    found = Container(
        folder,
        secrets=dict.fromkeys(names, rendered_units.SECRET),
        binds=rendered_units.list_bind_mounts(
            fillers, rendered_units.collect_programs(folder / "programs")
        ),
    )
    try:
        found.prepare()
        rendered_units.install_units(found, core)
        rendered_units.install_environment(found, [CORE])
        for wanted in STARTED:  # these start the others
            found.link(f"/etc/systemd/system/proof.target.wants/{wanted}", f"../{wanted}")
        found.start()
        yield found
    finally:
        found.stop()


def read_state(machine: Container, unit: str) -> str:
    return machine.show(unit, "ActiveState")


def describe_units(machine: Container) -> str:
    units = machine.run("systemctl", "list-units", "--all", "--no-pager", "barnabee*").stdout
    names = ("lease", "restore", "litestream", "worker", "follow")
    return "\n".join([units, *(machine.journal(f"barnabee-{name}.service", 12) for name in names)])


def wait_for_states(machine: Container, **wanted: str) -> float:
    """Wait until the units are in these states; return the seconds that took."""
    names = {f"barnabee-{name}.service": value for name, value in wanted.items()}

    def reached() -> bool:
        return all(read_state(machine, unit) == value for unit, value in names.items())

    took_s = machine.wait_until(reached, WITHIN_S)
    assert took_s is not None, f"{names}: {describe_units(machine)}"
    return took_s


def write_other_lease(machine: Container, state: LeaseState, epoch: int) -> None:
    """Write the other machine's lease object into the bucket's directory."""
    record = LeaseRecord(state, epoch, epoch, uuid.uuid4().hex)
    folder = f"/srv/s3/{GRAPH.replica.bucket}/{GRAPH.replica.path}-lease"
    machine.write(f"{folder}/manofwar.json", record.encode().decode())


def test_the_lease_starts_the_services_and_replication(machine: Container) -> None:
    took_s = wait_for_states(
        machine, lease="active", litestream="active", worker="active", api="active"
    )
    print(f"served {took_s:.1f} s after the boot")
    status = machine.run("cat", "/run/barnabee-lease/status.json")
    assert json.loads(status.stdout)["holder"] == "barnabee-core"
    assert read_state(machine, "barnabee-follow.service") == "inactive"
    assert (machine.root / "data/line").read_text() == "1\n"


def test_a_unit_with_a_user_of_its_own_needs_no_file_of_the_data_directory(
    machine: Container,
) -> None:
    assert machine.show("barnabee-health.service", "DynamicUser") == "yes"
    machine.run("systemctl", "start", "barnabee-health.service")
    log = machine.journal("barnabee-health.service", 40)
    assert "gpu" in log, log  # which does not run here
    assert "Traceback" not in log, log


def test_litestream_ends_with_the_keeper_and_both_restart(machine: Container) -> None:
    before = machine.show("barnabee-litestream.service", "MainPID")
    worker = machine.show("barnabee-worker.service", "MainPID")
    machine.run("systemctl", "kill", "--signal=KILL", "barnabee-lease.service")

    def another() -> bool:
        now = machine.show("barnabee-litestream.service", "MainPID")
        return (
            now not in {"0", before}
            and read_state(machine, "barnabee-litestream.service") == "active"
        )

    took_s = machine.wait_until(another, WITHIN_S)
    assert took_s is not None, describe_units(machine)
    print(f"replicated again {took_s:.1f} s after the keeper was killed")
    # The services keep running: only writing needs the lease.
    assert machine.show("barnabee-worker.service", "MainPID") == worker


def test_a_hanging_keeper_is_killed_before_its_lease_expires(machine: Container) -> None:
    restarts = int(machine.show("barnabee-lease.service", "NRestarts"))
    machine.run("systemctl", "kill", "--signal=STOP", "barnabee-lease.service")

    def ended() -> bool:
        return int(machine.show("barnabee-lease.service", "NRestarts")) > restarts

    took_s = machine.wait_until(ended, WITHIN_S)
    assert took_s is not None, describe_units(machine)
    # From systemd's log, because measuring from here takes seconds on a busy machine.
    limits = re.findall(
        r"Watchdog timeout \(limit (\d+)", machine.journal("barnabee-lease.service")
    )
    print(f"ended after {took_s:.1f} s by limits of {limits} s (lease 24 s, 10 s of it to stop)")
    assert limits
    assert max(map(int, limits)) <= 24 - 10
    wait_for_states(machine, litestream="active", worker="active")


def test_a_superseded_machine_stops_serving_and_follows(machine: Container) -> None:
    # Stop the keeper for longer than its lease.
    done = machine.run("systemctl", "stop", "barnabee-lease.service")
    assert done.returncode == 0, done.stderr + describe_units(machine)
    wait_for_states(machine, litestream="inactive")
    write_other_lease(machine, LeaseState.HOLD, 2)
    machine.run("systemctl", "start", "--no-block", "barnabee-lease.service")
    took_s = wait_for_states(
        machine, follow="active", worker="inactive", api="inactive", restore="inactive"
    )
    print(f"follows after {took_s:.1f} s")
    assert read_state(machine, "barnabee.target") == "inactive"
    assert read_state(machine, "barnabee-redis.service") == "active"


def test_a_health_check_leaves_the_follower_running(machine: Container) -> None:
    before = machine.show("barnabee-follow.service", "MainPID")
    done = machine.run("systemctl", "restart", "barnabee-health.service")
    assert done.returncode == 0, done.stderr
    assert machine.show("barnabee-follow.service", "MainPID") == before


def test_a_released_lease_starts_the_services_again(machine: Container) -> None:
    write_other_lease(machine, LeaseState.RELEASED, 2)
    took_s = wait_for_states(
        machine, follow="inactive", litestream="active", worker="active", api="active"
    )
    print(f"served again {took_s:.1f} s after the other gave up")
    assert (machine.root / "data/line").read_text() == "3\n"
