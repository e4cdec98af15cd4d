# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of prelude.py
"""Script of the check first-boot: what an operator types, from no secret to the page."""

GATE = "barnabee-boot-gate.service"
GIVEN = ("api_token", "b2_key_id", "b2_application_key")  # the other machines have them too

start_all()
backup.wait_for_unit("s3.service")
gpu.wait_for_unit("barnabee-gpu.service")
core.wait_for_unit("barnabee-secrets.service")

with subtest("one list says what is missing and what for"):
    status, shown = core.execute("barnabee secrets list 2>&1")
    assert status == 1, shown
    assert all(f"missing {name}: " in shown for name in NAMES), shown
    assert f"{len(NAMES)} missing. Run `barnabee secrets add`" in shown, shown

with subtest("the unit that waits says so in its status and in the journal"):
    waiting = core.succeed("systemctl status --no-pager --full barnabee-secrets.service")
    assert 'Status: "Missing secrets: ' in waiting, waiting
    core.succeed("journalctl -u barnabee-secrets.service -o cat | grep -F 'Missing secrets: '")

with subtest("the health gate gives the reason, and has no older system to return to"):
    lines = f"journalctl -u {GATE} -o cat"
    core.wait_until_succeeds(f"{lines} | grep -F 'no older system'", timeout=3 * HEALTHY_S)
    core.succeed(f"{lines} | grep -F 'Missing secrets: api_token'")

with subtest("secrets are given one by one, and the rest is generated"):
    for name in GIVEN:
        core.succeed(f"printf %s {SECRET} | barnabee secrets add {name}")
    core.succeed("barnabee secrets add")
    core.succeed("barnabee secrets list")

with subtest("what waited starts by itself"):
    wait_for(core, "barnabee-healthy.target", HEALTHY_S + MARGIN_S)
    wait_for(core, GATE, HEALTHY_S + MARGIN_S)
    assert core.execute("systemctl is-active barnabee-secrets.service")[0] != 0

with subtest("the page is served, and a command is answered"):
    page = "curl -fsS --insecure --resolve barnabee-core:443:127.0.0.1 https://barnabee-core/"
    core.wait_until_succeeds(f"{page} | grep -F '<title>'", timeout=HEALTHY_S)
    assert send_command(core, "what time is it")["intent"] == "time"

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()
