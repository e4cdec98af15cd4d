# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of prelude.py
"""Script of the check rollback."""

PROFILE = "/nix/var/nix/profiles/system"
# A failed switch: activation, checks, and the rollback with its checks.
ROLLBACK_S = 2 * SWITCH_S


def running_system() -> str:
    """Return the store path of core's running system."""
    return core.succeed("readlink -f /run/current-system").strip()


def read_switch(switch: str) -> dict[str, Any]:
    """Return the journal entry of a switch."""
    record: dict[str, Any] = json.loads(core.succeed(f"barnabee deploys show {switch} --json"))
    return record


def read_latest_switch() -> dict[str, Any]:
    """Return the journal entry of the latest switch."""
    return read_switch(core.succeed("barnabee deploys | tail -n 1 | cut -d ' ' -f 1").strip())


def start_switch(system: str, until: str) -> str:
    """Start a switch, wait until it is in the state `until`, and return its id."""
    switch = core.succeed(f"barnabee-switch --detach {system}").strip().splitlines()[-1]
    state = f'barnabee deploys show {switch} --json | grep \'"state": "{until}"\''
    core.wait_until_succeeds(state, timeout=SWITCH_S)
    return switch


def assert_healthy(system: str) -> None:
    """Assert that core runs a system and its services are healthy."""
    assert running_system() == system, running_system()
    core.succeed("systemctl restart barnabee-health.service", timeout=HEALTHY_S + 30)
    core.succeed("systemctl is-active barnabee-api.service")


start_services()
base = running_system()
good, bad = f"{base}/specialisation/good", f"{base}/specialisation/bad"
good, bad = (core.succeed(f"readlink -f {path}").strip() for path in (good, bad))

with subtest("the boot gate has passed"):
    core.wait_for_unit("barnabee-boot-gate.service", timeout=HEALTHY_S + 60)

with subtest("an unhealthy generation is rolled back with its reason"):
    status, output = core.execute(f"barnabee-switch {bad}", timeout=ROLLBACK_S)
    assert status == 1, (status, output)
    assert "rolled back to" in output, output
    assert "api" in output, output
    record = read_latest_switch()
    assert record["state"] == "returned", record
    assert record["well"] is True, record
    assert record["pin"], record
    assert_healthy(base)
    assert core.succeed(f"readlink -f {PROFILE}").strip() == base

with subtest("a healthy generation stays"):
    core.succeed(f"barnabee-switch {good}", timeout=ROLLBACK_S)
    assert read_latest_switch()["state"] == "kept"
    assert_healthy(good)
    assert core.succeed(f"readlink -f {PROFILE}").strip() == good

with subtest("a killed switch is rolled back by the watchdog"):
    switch = start_switch(bad, "checking")
    core.succeed(f"systemctl kill --signal=KILL barnabee-switch-{switch}.service")
    ended = f'barnabee deploys show {switch} --json | grep \'"state": "returned"\''
    core.wait_until_succeeds(ended, timeout=ROLLBACK_S)
    assert "stopped" in read_switch(switch)["why"], read_switch(switch)
    assert_healthy(good)

with subtest("a switch is rolled back after a power loss"):
    switch = start_switch(bad, "checking")
    core.crash()
    core.start()
    core.wait_for_unit("barnabee-boot-gate.service", timeout=HEALTHY_S + 120)
    assert read_switch(switch)["state"] == "returned", read_switch(switch)
    assert "restarted while" in read_switch(switch)["why"], read_switch(switch)
    assert_healthy(good)

with subtest("a generation that needs a reboot gets one test boot"):
    status, output = core.execute(f"barnabee-switch --boot {bad}", timeout=ROLLBACK_S)
    assert status == 3, (status, output)
    assert_healthy(good)
    core.shutdown()
    core.start()
    core.wait_for_shutdown()  # the gate reboots, which ends this machine
    core.start()
    core.wait_until_succeeds("barnabee deploys | tail -n 1 | grep -w returned", timeout=ROLLBACK_S)
    assert_healthy(good)

with subtest("barnabee rollback restores the previous generation"):
    core.succeed("barnabee rollback", timeout=ROLLBACK_S)
    assert_healthy(base)

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()
