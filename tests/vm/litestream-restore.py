# ruff: noqa: F821 - the names are those of the NixOS test driver
"""Script of the VM test litestream-restore; COLD_START_S and BUCKET come from system.toml."""

import json
import time

TURN = "('%032x', 's', NULL, 'what was said', 'what was replied', 'chat', '[]', '[]', '{}', '2026')"
SERVICES = ("api", "worker", "litestream", "restore")


def sql(statement: str) -> str:
    """Run a statement on the database without a WAL checkpoint."""
    pragma = "PRAGMA wal_autocheckpoint = 0"
    return str(core.succeed(f'sqlite3 /data/barnabee.db "{pragma}" "{statement}" | tail -n +2'))


def write(first: int, last: int) -> None:
    values = ",".join(TURN % number for number in range(first, last))
    sql(f"INSERT INTO turns VALUES {values}")  # noqa: S608 - numbers only


def read_status() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(
        core.succeed("barnabee-ops backup status --json")
    )
    return found


start_all()
backup.wait_for_unit("s3.service")
gpu.wait_for_unit("barnabee-gpu.service")
core.wait_for_unit("barnabee-litestream.service")
core.wait_for_unit("barnabee-api.service")

with subtest("written rows reach the bucket"):
    for start in range(0, 3000, 100):
        write(start, start + 100)
    core.wait_until_succeeds(
        "barnabee-ops backup status --json | grep -q '\"lag_transactions\": 0'", timeout=60
    )
    backup.succeed(f"find {BUCKET} -name '*.ltx' | grep -q .")

with subtest("a snapshot and a drill succeed"):
    core.succeed("systemctl start barnabee-snapshot.service")
    core.succeed("systemctl start barnabee-drill.service")
    last = read_status()["drill"]["last"]
    assert last["success"], last
    assert last["rows"] >= 3000

with subtest("the path unit starts a requested drill"):
    core.succeed("touch /data/drill.request")
    core.wait_until_fails("test -e /data/drill.request", timeout=30)
    core.wait_until_succeeds("systemctl show -p ActiveState barnabee-drill | grep inactive")

before = sql("SELECT count(*), min(trace_id), max(trace_id) FROM turns")

with subtest("the disk is erased, and the same rows are restored automatically"):
    core.succeed("systemctl stop barnabee.target")
    for service in SERVICES:
        core.wait_until_fails(f"systemctl is-active barnabee-{service}.service")
    core.succeed("find /data -mindepth 1 -delete")
    begun = time.monotonic()
    core.succeed("systemctl start barnabee.target")
    core.wait_for_unit("barnabee-api.service", timeout=COLD_START_S)
    print(f"cold start from the bucket: {time.monotonic() - begun:.1f} s")
    assert sql("SELECT count(*), min(trace_id), max(trace_id) FROM turns") == before
    assert sql("PRAGMA integrity_check").strip() == "ok"

with subtest("a restore on request keeps the old database"):
    core.succeed("barnabee-ops restore --force")
    core.wait_for_unit("barnabee-api.service")
    assert sql("SELECT count(*), min(trace_id), max(trace_id) FROM turns") == before
    core.succeed("ls -d /data/barnabee.db.before-restore-*")

with subtest("the drill detects a damaged bucket"):
    flip = "printf '\\377' | dd of={} bs=1 seek=2000 conv=notrunc"
    backup.succeed(f"find {BUCKET} -name '*.ltx' -size +3k -exec sh -c \"{flip}\" ';'")
    core.fail("systemctl start barnabee-drill.service")
    assert not read_status()["drill"]["last"]["success"]
