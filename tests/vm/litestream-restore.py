# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of prelude.py
"""Script of the check litestream-restore."""

TURN = "('%032x', 's', NULL, 'what was said', 'what was replied', 'chat', '[]', '[]', '{}', '2026')"
CONTENT = "SELECT count(*), min(trace_id), max(trace_id) FROM turns"


def sql(statement: str) -> str:
    """Run a statement on the database without a WAL checkpoint."""
    pragma = "PRAGMA wal_autocheckpoint = 0"
    return str(core.succeed(f'sqlite3 /data/barnabee.db "{pragma}" "{statement}" | tail -n +2'))


def write(first: int, last: int) -> None:
    values = ",".join(TURN % number for number in range(first, last))
    sql(f"INSERT INTO turns VALUES {values}")  # noqa: S608 - numbers only


def read_last_drill() -> dict[str, Any]:
    """Return the result of the last drill."""
    status: dict[str, Any] = json.loads(core.succeed("barnabee-ops backup status --json"))
    drill: dict[str, Any] = status["drill"]["last"]
    return drill


start_services()

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
    last = read_last_drill()
    assert last["success"], last
    assert last["rows"] >= 3000

with subtest("the path unit starts a requested drill"):
    core.succeed("touch /data/drill.request")
    core.wait_until_fails("test -e /data/drill.request", timeout=30)
    core.wait_until_succeeds("systemctl show -p ActiveState barnabee-drill | grep inactive")

before = sql(CONTENT)

with subtest("the disk is erased, and the same rows are restored automatically"):
    stop_services()
    core.succeed("find /data -mindepth 1 -delete")
    begun = time.monotonic()
    core.succeed("systemctl start barnabee.target")
    core.wait_for_unit("barnabee-api.service", timeout=COLD_START_S)
    print(f"cold start from the bucket: {time.monotonic() - begun:.1f} s")
    assert sql(CONTENT) == before
    assert sql("PRAGMA integrity_check").strip() == "ok"

with subtest("a restore on request keeps the old database"):
    core.succeed("barnabee-ops restore --force")
    core.wait_for_unit("barnabee-api.service")
    assert sql(CONTENT) == before
    core.succeed("ls -d /data/barnabee.db.before-restore-*")

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()

with subtest("the drill detects a damaged bucket"):
    flip = "printf '\\377' | dd of={} bs=1 seek=2000 conv=notrunc"
    backup.succeed(f"find {BUCKET} -name '*.ltx' -size +3k -exec sh -c \"{flip}\" ';'")
    core.fail("systemctl start barnabee-drill.service")
    assert not read_last_drill()["success"]
    assert_sound("barnabee-drill.service")
