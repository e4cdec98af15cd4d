# ruff: noqa: F821 - the names are those of the NixOS test driver and of failover.nix
"""Script of the VM test failover; limits come from system.toml."""

import json
from typing import Any

MARGIN_S = 60  # for a slow test machine


def read_status(machine: Any) -> dict:
    """Return the lease status of a machine."""
    return json.loads(machine.succeed("barnabee standby status --json"))


def send_command(machine: Any, address: str, number: int) -> str:
    """Send a command to the API of a machine and return its trace id."""
    body = json.dumps({"utterance": f"what time is it, for the {number}th time"})
    headers = f"-H 'Authorization: Bearer {TOKEN}' -H 'Content-Type: application/json'"
    url = f"http://{address}:{API_PORT}/v1/command"
    return json.loads(machine.succeed(f"curl -fsS {headers} -d '{body}' {url}"))["trace_id"]


def wait_for_turn(machine: Any, address: str, trace_id: str) -> None:
    """Wait until the database of a machine has a turn."""
    url = f"http://{address}:{API_PORT}/v1/turns/{trace_id}"
    machine.wait_until_succeeds(f"curl -fsS -H 'Authorization: Bearer {TOKEN}' {url}", timeout=30)


def wait_for(machine: Any, unit: str, limit_s: int) -> None:
    """Wait until a unit is active; wait_for_unit fails for a unit that a path unit starts later."""
    machine.wait_until_succeeds(f"systemctl is-active {unit}", timeout=limit_s)


start_all()
backup.wait_for_unit("s3.service")
gpu.wait_for_unit("barnabee-gpu.service")

with subtest("the primary serves at the virtual IP address, and the standby follows"):
    wait_for(core, "barnabee-healthy.target", HEALTHY_S + MARGIN_S)
    core.wait_until_succeeds(f"ip -4 addr show eth1 | grep -F {ADDRESS}/", timeout=MARGIN_S)
    backup.wait_until_succeeds(f"curl -fsS {VOICE}", timeout=MARGIN_S)
    wait_for(manofwar, "barnabee-follow.service", MARGIN_S)
    manofwar.fail("systemctl is-active barnabee.target")
    manofwar.fail(f"ip -4 addr show eth1 | grep -F {ADDRESS}/")
    assert read_status(manofwar)["holder"] == "barnabee-core"

turns = [send_command(core, "127.0.0.1", number) for number in range(20)]
for turn in turns:
    wait_for_turn(core, "127.0.0.1", turn)

with subtest("the standby has a replica of the primary's data"):
    manofwar.wait_until_succeeds(
        "barnabee standby status --json | grep -F '\"txid\"'", timeout=MARGIN_S
    )
    password = "$(cat /run/barnabee-redis-passwords/redis_standby_password)"
    role = f"REDISCLI_AUTH={password} valkey-cli --user standby role"
    manofwar.wait_until_succeeds(f"{role} | grep -x slave", timeout=MARGIN_S)

with subtest("the primary crashes, and the standby serves with every turn"):
    core.crash()
    wait_for(manofwar, "barnabee-healthy.target", LEASE_S + HEALTHY_S + MARGIN_S)
    manofwar.wait_until_succeeds(f"ip -4 addr show eth1 | grep -F {ADDRESS}/", timeout=MARGIN_S)
    backup.wait_until_succeeds(f"curl -fsS {VOICE}", timeout=MARGIN_S)
    for turn in turns:
        wait_for_turn(manofwar, "127.0.0.1", turn)
    turns.append(send_command(manofwar, "127.0.0.1", 20))
    assert read_status(manofwar)["line"] == 2

with subtest("the primary returns, writes nothing and follows"):
    core.start()
    wait_for(core, "barnabee-follow.service", HEALTHY_S + MARGIN_S)
    core.fail("systemctl is-active barnabee-worker.service")
    core.fail("systemctl is-active barnabee-litestream.service")
    core.fail(f"ip -4 addr show eth1 | grep -F {ADDRESS}/")
    core.wait_until_succeeds(
        "barnabee standby status --json | grep -F '\"unreplicated\": {'", timeout=MARGIN_S
    )
    assert read_status(core)["holder"] == "manofwar"

with subtest("the standby is demoted, and the primary serves again with every turn"):
    manofwar.succeed("barnabee standby demote")
    wait_for(core, "barnabee-healthy.target", HEALTHY_S + MARGIN_S)
    core.wait_until_succeeds(f"ip -4 addr show eth1 | grep -F {ADDRESS}/", timeout=MARGIN_S)
    for turn in turns:
        wait_for_turn(core, "127.0.0.1", turn)
    wait_for(manofwar, "barnabee-follow.service", MARGIN_S)
