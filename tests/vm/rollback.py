# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of prelude.py
"""Script of the check rollback."""

start_services()
base = running_system()
good, bad = f"{base}/specialisation/good", f"{base}/specialisation/bad"
good, bad = (core.succeed(f"readlink -f {path}").strip() for path in (good, bad))

with subtest("the boot gate has passed"):
    core.wait_for_unit("barnabee-boot-gate.service", timeout=HEALTHY_S + 60)

with subtest("a healthy generation stays"):
    core.succeed(f"barnabee-switch {good}", timeout=2 * SWITCH_S)
    assert read_latest_switch()["state"] == "kept"
    assert_healthy(good)

with subtest("a switch is rolled back after a power loss"):
    switch = start_switch(bad)
    core.crash()
    core.start()
    core.wait_for_unit("barnabee-boot-gate.service", timeout=HEALTHY_S + 120)
    assert read_switch(switch)["state"] == "returned", read_switch(switch)
    assert "restarted while" in read_switch(switch)["why"], read_switch(switch)
    assert_healthy(good)

with subtest("a generation that needs a reboot gets one test boot"):
    status, output = core.execute(f"barnabee-switch --boot {bad}", timeout=2 * SWITCH_S)
    assert status == 3, (status, output)
    assert_healthy(good)
    core.shutdown()
    core.start()
    core.wait_for_shutdown()  # the gate reboots, which ends this machine
    core.start()
    core.wait_until_succeeds(
        "barnabee deploys | tail -n 1 | grep -w returned", timeout=2 * SWITCH_S
    )
    assert_healthy(good)

with subtest("barnabee rollback restores the previous generation"):
    core.succeed("barnabee rollback", timeout=2 * SWITCH_S)
    assert_healthy(base)

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()
