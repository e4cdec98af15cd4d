"""The units of a machine with a stand-by under a real systemd: what follows from the signs.

Only barnabee-core is booted; what the other machine says in the bucket is written by the test.
Binding, conflicts, path units, sandbox and credentials are systemd's own.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from barnabee.core import system
from barnabee.standby.lease import Record, State
from support import rendered
from support.boot import Machine, why_not
from support.nix import ROOT, evaluate, needs_nixpkgs

pytestmark = [
    pytest.mark.alone,
    needs_nixpkgs,
    pytest.mark.skipif(bool(why_not()), reason=str(why_not())),
    pytest.mark.timeout(600),
]
GRAPH = system.load(ROOT / "system.toml")
CORE = "10.77.0.12"
SERVED = ("redis", "restore", "litestream", "worker", "api")
SIGNS = ("serve", "replicate", "follow")
UNITS = (
    *("barnabee.target", "barnabee.slice", "barnabee-lease.service", "barnabee-follow.service"),
    *(f"barnabee-{name}.path" for name in SIGNS),
    *(f"barnabee-{name}.service" for name in SERVED),
)
BEGUN = ("barnabee-lease.service", "barnabee-redis.service")
BEGUN += tuple(f"barnabee-{name}.path" for name in SIGNS if name != "replicate")
WITHIN_S = 180


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("pair")
    core: Any = evaluate(
        'hosts.report "barnabee-core" {'
        ' barnabee.secrets.unused = [ "azure_openai_key" "home_assistant_token" ];'
        f' barnabee.settings.BARNABEE_REPLICA_ENDPOINT = "http://{CORE}:{rendered.S3_PORT}";'
        " barnabee.system.standby.lease_s = 24; barnabee.system.standby.renew_s = 1; }"
    )
    core["units"] = {name: text for name, text in core["units"].items() if name in UNITS}
    names = ("api_token", "b2_key_id", "b2_application_key")
    fillers = folder / "fillers"
    fillers.mkdir()
    found = Machine(
        folder,
        secrets=dict.fromkeys(names, rendered.SECRET),
        binds=rendered.binds(fillers, rendered.programs(folder / "programs")),
    )
    try:
        found.prepare()
        rendered.install(found, core)
        rendered.surroundings(found, [CORE])
        for wanted in BEGUN:  # the others by themselves
            found.link(f"/etc/systemd/system/proof.target.wants/{wanted}", f"../{wanted}")
        found.start()
        yield found
    finally:
        found.end()


def state(machine: Machine, unit: str) -> str:
    return machine.show(unit, "ActiveState")


def told(machine: Machine) -> str:
    units = machine.run("systemctl", "list-units", "--all", "--no-pager", "barnabee*").stdout
    names = ("lease", "restore", "litestream", "worker", "follow")
    return "\n".join([units, *(machine.journal(f"barnabee-{name}.service", 12) for name in names)])


def wait(machine: Machine, **wanted: str) -> float:
    """Wait until units (by the end of their names) are in these states; return how long it took."""
    names = {f"barnabee-{name}.service": value for name, value in wanted.items()}

    def so() -> bool:
        return all(state(machine, unit) == value for unit, value in names.items())

    took_s = machine.until(so, WITHIN_S)
    assert took_s is not None, f"{names}: {told(machine)}"
    return took_s


def the_other_says(machine: Machine, what: State, line: int) -> None:
    """Write the other machine's object into the bucket's folder."""
    record = Record(what, line, line, uuid.uuid4().hex)
    folder = f"/srv/s3/{GRAPH.replica.bucket}/{GRAPH.replica.path}-lease"
    machine.write(f"{folder}/manofwar.json", record.encode().decode())


def test_the_house_is_served_and_replicated_once_the_lease_is_had(machine: Machine) -> None:
    took_s = wait(machine, lease="active", litestream="active", worker="active", api="active")
    print(f"served {took_s:.1f} s after the boot")
    status = machine.run("cat", "/run/barnabee-lease/status.json")
    assert json.loads(status.stdout)["holder"] == "barnabee-core"
    assert state(machine, "barnabee-follow.service") == "inactive"
    assert (machine.root / "data/line").read_text() == "1\n"


def test_without_its_keeper_litestream_ends_and_both_come_back(machine: Machine) -> None:
    before = machine.show("barnabee-litestream.service", "MainPID")
    worker = machine.show("barnabee-worker.service", "MainPID")
    machine.run("systemctl", "kill", "--signal=KILL", "barnabee-lease.service")

    def another() -> bool:
        now = machine.show("barnabee-litestream.service", "MainPID")
        return (
            now not in {"0", before} and state(machine, "barnabee-litestream.service") == "active"
        )

    took_s = machine.until(another, WITHIN_S)
    assert took_s is not None, told(machine)
    print(f"replicated again {took_s:.1f} s after the keeper was killed")
    # The services themselves went on: only writing needs the lease.
    assert machine.show("barnabee-worker.service", "MainPID") == worker


def test_a_keeper_that_stands_still_is_ended_before_its_lease_is(machine: Machine) -> None:
    restarts = int(machine.show("barnabee-lease.service", "NRestarts"))
    machine.run("systemctl", "kill", "--signal=STOP", "barnabee-lease.service")

    def ended() -> bool:
        return int(machine.show("barnabee-lease.service", "NRestarts")) > restarts

    took_s = machine.until(ended, WITHIN_S)
    assert took_s is not None, told(machine)
    # By systemd's own words: looking from outside takes seconds on a busy machine.
    limits = re.findall(
        r"Watchdog timeout \(limit (\d+)", machine.journal("barnabee-lease.service")
    )
    print(f"ended after {took_s:.1f} s by limits of {limits} s (lease 24 s, 10 s of it to stop)")
    assert limits
    assert max(map(int, limits)) <= 24 - 10
    wait(machine, litestream="active", worker="active")


def test_a_machine_that_was_overtaken_stops_serving_and_follows(machine: Machine) -> None:
    # Silence the keeper for longer than its lease, as a machine that stood still does.
    done = machine.run("systemctl", "stop", "barnabee-lease.service")
    assert done.returncode == 0, done.stderr + told(machine)
    wait(machine, litestream="inactive")
    the_other_says(machine, State.HOLD, 2)
    machine.run("systemctl", "start", "--no-block", "barnabee-lease.service")
    took_s = wait(machine, follow="active", worker="inactive", api="inactive", restore="inactive")
    print(f"follows {took_s:.1f} s after it was told")
    assert state(machine, "barnabee.target") == "inactive"
    assert state(machine, "barnabee-redis.service") == "active"


def test_when_the_other_gives_up_it_serves_again(machine: Machine) -> None:
    the_other_says(machine, State.RELEASED, 2)
    took_s = wait(machine, follow="inactive", litestream="active", worker="active", api="active")
    print(f"served again {took_s:.1f} s after the other gave up")
    assert (machine.root / "data/line").read_text() == "3\n"
