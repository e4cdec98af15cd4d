# ruff: noqa: F821 - the names are those of the NixOS test driver and of failover.nix
"""The script of the VM test failover; the times come from system.toml."""

import json
from typing import Any

DRIVEN_S = 60  # what a slow test machine may add


def status(machine: Any) -> dict:
    """Return what the machine says of the lease."""
    return json.loads(machine.succeed("barnabee standby status --json"))


def say(machine: Any, address: str, number: int) -> str:
    """Give a command to the api of a machine; return its trace id."""
    body = json.dumps({"utterance": f"what time is it, for the {number}th time"})
    head = f"-H 'Authorization: Bearer {TOKEN}' -H 'Content-Type: application/json'"
    url = f"http://{address}:{API_PORT}/v1/command"
    return json.loads(machine.succeed(f"curl -fsS {head} -d '{body}' {url}"))["trace_id"]


def wait_for_turn(machine: Any, address: str, trace_id: str) -> None:
    """Wait until a turn is in the database of a machine."""
    url = f"http://{address}:{API_PORT}/v1/turns/{trace_id}"
    machine.wait_until_succeeds(f"curl -fsS -H 'Authorization: Bearer {TOKEN}' {url}", timeout=30)


def wait_for(machine: Any, unit: str, limit_s: int) -> None:
    """Wait until a unit is active; wait_for_unit gives up on one that a path unit starts later."""
    machine.wait_until_succeeds(f"systemctl is-active {unit}", timeout=limit_s)


start_all()
backup.wait_for_unit("s3.service")
gpu.wait_for_unit("barnabee-gpu.service")

with subtest("the primary serves under the house's address, and the stand-by follows"):
    wait_for(core, "barnabee-healthy.target", HEALTHY_S + DRIVEN_S)
    core.wait_until_succeeds(f"ip -4 addr show eth1 | grep -F {ADDRESS}/", timeout=DRIVEN_S)
    backup.wait_until_succeeds(f"curl -fsS {VOICE}", timeout=DRIVEN_S)
    wait_for(manofwar, "barnabee-follow.service", DRIVEN_S)
    manofwar.fail("systemctl is-active barnabee.target")
    manofwar.fail(f"ip -4 addr show eth1 | grep -F {ADDRESS}/")
    assert status(manofwar)["holder"] == "barnabee-core"

turns = [say(core, "127.0.0.1", number) for number in range(20)]
for turn in turns:
    wait_for_turn(core, "127.0.0.1", turn)

with subtest("what the primary wrote is with the stand-by"):
    manofwar.wait_until_succeeds(
        "barnabee standby status --json | grep -F '\"txid\"'", timeout=DRIVEN_S
    )
    manofwar.wait_until_succeeds("valkey-cli role | grep -x slave", timeout=DRIVEN_S)

with subtest("the primary dies, and the stand-by serves with every turn"):
    core.crash()
    wait_for(manofwar, "barnabee-healthy.target", LEASE_S + HEALTHY_S + DRIVEN_S)
    manofwar.wait_until_succeeds(f"ip -4 addr show eth1 | grep -F {ADDRESS}/", timeout=DRIVEN_S)
    backup.wait_until_succeeds(f"curl -fsS {VOICE}", timeout=DRIVEN_S)
    for turn in turns:
        wait_for_turn(manofwar, "127.0.0.1", turn)
    turns.append(say(manofwar, "127.0.0.1", 20))
    assert status(manofwar)["line"] == 2

with subtest("the primary comes back, writes nothing and follows"):
    core.start()
    wait_for(core, "barnabee-follow.service", HEALTHY_S + DRIVEN_S)
    core.fail("systemctl is-active barnabee-worker.service")
    core.fail("systemctl is-active barnabee-litestream.service")
    core.fail(f"ip -4 addr show eth1 | grep -F {ADDRESS}/")
    core.wait_until_succeeds(
        "barnabee standby status --json | grep -F '\"unreplicated\": {'", timeout=DRIVEN_S
    )
    assert status(core)["holder"] == "manofwar"

with subtest("the stand-by gives up, and the primary serves again with every turn"):
    manofwar.succeed("barnabee standby demote")
    wait_for(core, "barnabee-healthy.target", HEALTHY_S + DRIVEN_S)
    core.wait_until_succeeds(f"ip -4 addr show eth1 | grep -F {ADDRESS}/", timeout=DRIVEN_S)
    for turn in turns:
        wait_for_turn(core, "127.0.0.1", turn)
    wait_for(manofwar, "barnabee-follow.service", DRIVEN_S)
