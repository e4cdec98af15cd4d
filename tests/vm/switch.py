# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of prelude.py
"""Script of the check switch: switches without a restart, on a core that has no boot loader."""

import shlex

URL = f"{service_url(core, 'api')}/v1/command"
BODY = json.dumps({"utterance": "what time is it"})
ASK = f"while curl -fsS {HEADERS} -d '{BODY}' {URL}; do sleep 1; done; exit 1"
turns: list[str] = []


def running_services() -> dict[str, str]:
    """Return the running services of core, each with the id of its run."""
    units = core.succeed("systemctl list-units --type=service --state=running --plain --no-legend")
    names = [line.split()[0] for line in units.splitlines()]
    return {name: core.succeed(f"systemctl show -p InvocationID {name}") for name in names}


def take_turn() -> None:
    """Have a command answered, and keep the id of the turn."""
    utterance = f"what time is it, for the {len(turns)}th time"
    turns.append(send_command(core, utterance)["trace_id"])


start_services()
base = running_system()

with subtest("the system is the boot default, and the boot gate has passed"):
    core.succeed(f"NIX_REMOTE= nix-store --load-db < {REGISTRATION}")
    core.succeed(f"NIX_REMOTE= nix-env --profile /nix/var/nix/profiles/system --set {base}")
    wait_for(core, "barnabee-boot-gate.service", HEALTHY_S + MARGIN_S)
    assert_healthy(base)
    take_turn()

with subtest("a healthy system stays; commands are answered, and only what differs restarts"):
    before = running_services()
    core.succeed(f"systemd-run --unit=questions --setenv=PATH bash -c {shlex.quote(ASK)}")
    core.succeed(f"barnabee-switch {GOOD}", timeout=SWITCH_S)
    core.succeed("systemctl is-active questions.service")
    core.succeed("systemctl stop questions.service")
    after = running_services()
    restarted = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert restarted == {"barnabee-worker.service"}, restarted
    assert read_latest_switch()["state"] == "kept", read_latest_switch()
    assert_healthy(GOOD)
    take_turn()

with subtest("an unhealthy system is rolled back with its reason, and no turn is lost"):
    status, output = core.execute(f"barnabee-switch {BAD}", timeout=2 * SWITCH_S)
    assert status == 1, (status, output)
    assert "rolled back to" in output, output
    assert "✗ api" in output, output
    record = read_latest_switch()
    assert record["state"] == "returned", record
    assert record["well"] is True, record
    assert record["pin"], record
    assert_healthy(GOOD)
    take_turn()
    for turn in turns:
        wait_for_turn(core, turn)

with subtest("a system whose activation fails in part is rolled back, which names the part"):
    status, output = core.execute(f"barnabee-switch {BROKEN}", timeout=2 * SWITCH_S)
    assert status == 1, (status, output)
    assert "Activation script snippet 'broken' failed" in output, output
    assert_healthy(GOOD)

with subtest("a killed switch is rolled back by the watchdog"):
    switch = start_switch(BAD)
    core.succeed(f"systemctl kill --signal=KILL barnabee-switch-{switch}.service")
    wait_for_state(switch, "returned")
    assert "stopped" in read_switch(switch)["why"], read_switch(switch)
    assert_healthy(GOOD)

with subtest("barnabee rollback restores the previous system"):
    core.succeed("barnabee rollback", timeout=2 * SWITCH_S)
    assert_healthy(base)
    take_turn()

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()
