# ruff: noqa: F821 - the names are those of the NixOS test driver
"""The script of the VM test rollback; HEALTHY_S and SWITCH_S come from system.toml."""

import json

PROFILE = "/nix/var/nix/profiles/system"
# A switch that goes wrong: activation, the check, and the way back with a check of its own.
ENDS_S = 2 * SWITCH_S


def running() -> str:
    """Return the system that runs on core."""
    return core.succeed("readlink -f /run/current-system").strip()


def shown(switch: str) -> dict[str, object]:
    """Return the record of a switch."""
    return json.loads(core.succeed(f"barnabee deploys show {switch} --json"))


def newest() -> dict[str, object]:
    """Return the record of the newest switch."""
    return shown(core.succeed("barnabee deploys | tail -n 1 | cut -d ' ' -f 1").strip())


def started(system: str, until: str) -> str:
    """Begin a switch, wait until it is in a state, and return its id."""
    switch = core.succeed(f"barnabee-switch --detach {system}").strip().splitlines()[-1]
    state = f'barnabee deploys show {switch} --json | grep \'"state": "{until}"\''
    core.wait_until_succeeds(state, timeout=SWITCH_S)
    return switch


def expect_well(system: str) -> None:
    """Assert that core runs a system and all services of it are well."""
    assert running() == system, running()
    core.succeed("systemctl restart barnabee-health.service", timeout=HEALTHY_S + 30)
    core.succeed("systemctl is-active barnabee-api.service")


start_all()
backup.wait_for_unit("s3.service")
gpu.wait_for_unit("barnabee-gpu.service")
core.wait_for_unit("barnabee-healthy.target", timeout=HEALTHY_S + 60)
base = running()
good, bad = f"{base}/specialisation/good", f"{base}/specialisation/bad"
good, bad = (core.succeed(f"readlink -f {one}").strip() for one in (good, bad))

with subtest("the gate has let this boot pass"):
    core.wait_for_unit("barnabee-boot-gate.service", timeout=HEALTHY_S + 60)

with subtest("a bad generation takes itself back and says why"):
    status, told = core.execute(f"barnabee-switch {bad}", timeout=ENDS_S)
    assert status == 1, (status, told)
    assert "went back to" in told, told
    assert "api" in told, told
    record = newest()
    assert record["state"] == "returned", record
    assert record["well"] is True, record
    assert record["pin"], record
    expect_well(base)
    assert core.succeed(f"readlink -f {PROFILE}").strip() == base

with subtest("a good one stays"):
    core.succeed(f"barnabee-switch {good}", timeout=ENDS_S)
    assert newest()["state"] == "kept"
    expect_well(good)
    assert core.succeed(f"readlink -f {PROFILE}").strip() == good

with subtest("a switch that is killed is taken back by the watch"):
    switch = started(bad, "checking")
    core.succeed(f"systemctl kill --signal=KILL barnabee-switch-{switch}.service")
    ended = f'barnabee deploys show {switch} --json | grep \'"state": "returned"\''
    core.wait_until_succeeds(ended, timeout=ENDS_S)
    assert "stopped by itself" in str(shown(switch)["why"]), shown(switch)
    expect_well(good)

with subtest("the power goes in the middle of a switch"):
    switch = started(bad, "checking")
    core.crash()
    core.start()
    core.wait_for_unit("barnabee-boot-gate.service", timeout=HEALTHY_S + 120)
    assert shown(switch)["state"] == "returned", shown(switch)
    assert "restarted while" in str(shown(switch)["why"]), shown(switch)
    expect_well(good)

with subtest("what only comes with a boot is tried by one, and goes when it is not well"):
    status, told = core.execute(f"barnabee-switch --boot {bad}", timeout=ENDS_S)
    assert status == 3, (status, told)
    expect_well(good)
    core.shutdown()
    core.start()
    core.wait_for_shutdown()  # the gate restarts it, which ends this machine
    core.start()
    core.wait_until_succeeds("barnabee deploys | tail -n 1 | grep -w returned", timeout=ENDS_S)
    expect_well(good)

with subtest("barnabee rollback goes back to the generation before"):
    core.succeed("barnabee rollback", timeout=ENDS_S)
    expect_well(base)
