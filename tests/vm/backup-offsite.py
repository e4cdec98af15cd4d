# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of prelude.py
"""Script of the check backup-offsite."""

COUNT = 'sqlite3 /data/barnabee.db "SELECT count(*) FROM turns"'

start_services()
nas.wait_for_unit("s3.service")

turns = [send_command(core, f"what time is it, for the {n}th time")["trace_id"] for n in range(20)]
for turn in turns:
    wait_for_turn(core, turn)

with subtest("a snapshot goes to the second place, encrypted"):
    core.succeed("systemctl start barnabee-snapshot.service")
    nas.succeed(f"test -f {BUCKET}/config")
    nas.fail(f"grep -rlaF 'what time is it' {BUCKET}")

with subtest("the drill restores the snapshot of the second place"):
    core.succeed("systemctl start barnabee-drill.service")
    status = json.loads(core.succeed("barnabee-ops backup status --json"))
    assert status["drill"]["last"]["offsite"], status
    assert status["drill"]["last"]["success"], status

before = core.succeed(COUNT)

with subtest("disk and replica are lost, and the second place has every turn"):
    stop_services()
    core.succeed("find /data -mindepth 1 -delete")
    backup.succeed(f"find {BUCKET} -mindepth 1 -delete")
    backup.succeed("systemctl restart s3.service")
    core.succeed("systemctl start --no-block barnabee.target barnabee-healthy.target")
    wait_for(core, "barnabee-healthy.target", COLD_START_S)
    assert core.succeed(COUNT) == before
    for turn in turns:
        wait_for_turn(core, turn)
    core.succeed("journalctl -u barnabee-restore.service -o cat | grep -F snapshot_used")

with subtest("the new replica is complete"):
    core.wait_until_succeeds(
        "barnabee-ops backup status --json | grep -q '\"lag_transactions\": 0'", timeout=60
    )
    core.succeed("systemctl start barnabee-drill.service")

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()
