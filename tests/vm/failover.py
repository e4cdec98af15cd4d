# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of prelude.py
"""Script of the check failover."""

PAGE = f"curl -kfsS https://{VIRTUAL_IP}/health/live"
HAS_ADDRESS = f"ip -4 addr show eth1 | grep -F {VIRTUAL_IP}/"


def read_status(machine: Any) -> dict[str, Any]:
    """Return the lease status of a machine."""
    status: dict[str, Any] = json.loads(machine.succeed("barnabee standby status --json"))
    return status


def send_question(machine: Any, number: int) -> str:
    """Send a command to the API of a machine and return its trace id."""
    trace_id: str = send_command(machine, f"what time is it, for the {number}th time")["trace_id"]
    return trace_id


def wait_until_serving(machine: Any, limit_s: int) -> None:
    """Wait until a machine is healthy and serves at the virtual IP address."""
    wait_for(machine, "barnabee-healthy.target", limit_s)
    machine.wait_until_succeeds(HAS_ADDRESS, timeout=MARGIN_S)
    backup.wait_until_succeeds(PAGE, timeout=MARGIN_S)


start_all()
backup.wait_for_unit("s3.service")
gpu.wait_for_unit("barnabee-gpu.service")

with subtest("the primary serves at the virtual IP address, and the standby follows"):
    wait_until_serving(core, HEALTHY_S + MARGIN_S)
    wait_for(manofwar, "barnabee-follow.service", MARGIN_S)
    manofwar.fail("systemctl is-active barnabee.target")
    manofwar.fail(HAS_ADDRESS)
    assert read_status(manofwar)["holder"] == "barnabee-core"

with subtest("a unit without a part in the replication starts too"):
    core.succeed("systemctl start barnabee-probe.service")

turns = [send_question(core, number) for number in range(20)]
for turn in turns:
    wait_for_turn(core, turn)

with subtest("the standby has a replica of the primary's data"):
    manofwar.wait_until_succeeds(
        "barnabee standby status --json | grep -F '\"txid\"'", timeout=MARGIN_S
    )
    password = "$(cat /run/barnabee-redis-passwords/redis_standby_password)"
    role = f"REDISCLI_AUTH={password} valkey-cli --user standby role"
    manofwar.wait_until_succeeds(f"{role} | grep -x slave", timeout=MARGIN_S)

with subtest("the primary crashes, and the standby serves with every turn"):
    crash(core)
    wait_until_serving(manofwar, LEASE_S + HEALTHY_S + MARGIN_S)
    for turn in turns:
        wait_for_turn(manofwar, turn)
    turns.append(send_question(manofwar, 20))
    assert read_status(manofwar)["line"] == 2

with subtest("the primary returns, writes nothing and follows"):
    core.start()
    wait_for(core, "barnabee-follow.service", HEALTHY_S + MARGIN_S)
    core.fail("systemctl is-active barnabee-worker.service")
    core.fail("systemctl is-active barnabee-litestream.service")
    core.fail(HAS_ADDRESS)
    core.wait_until_succeeds(
        "barnabee standby status --json | grep -F '\"unreplicated\": {'", timeout=MARGIN_S
    )
    assert read_status(core)["holder"] == "manofwar"

with subtest("the standby is demoted, and the primary serves again with every turn"):
    manofwar.succeed("barnabee standby demote")
    wait_until_serving(core, HEALTHY_S + MARGIN_S)
    for turn in turns:
        wait_for_turn(core, turn)
    wait_for(manofwar, "barnabee-follow.service", MARGIN_S)
    manofwar.fail("systemctl is-active barnabee-health.service")

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()
