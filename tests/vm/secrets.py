# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of secrets.nix
"""Script of the check secrets: searches the machine for a value created at run time."""

import secrets

# The API token; the bucket's key stays that of the S3 server.
TOKEN = secrets.token_hex(24)
TOKEN_NAME = "api_token"
PATTERN = "/root/pattern"  # on no command line of ours stands the token itself
UNUSED = {
    *("azure_openai_key", "llm_api_key", "home_assistant_token"),
    *("restic_password", "rclone_conf"),
}
ADDED = {"redis": {"redis_exporter_password"}}
REPLACEABLE = {"talk_token", "infer_token", "metrics_token"}  # in /run/barnabee-tokens

start_all()
backup.wait_for_unit("s3.service")
core.wait_for_unit("multi-user.target")
core.succeed(f"printf %s {TOKEN} | tee {FOLDER}/{TOKEN_NAME} > {PATTERN}")
core.succeed("systemctl restart barnabee-tokens.service")
core.succeed("systemctl start --no-block barnabee-healthy.target")
for service in ("api", "worker", "litestream"):
    wait_for(core, f"barnabee-{service}.service", HEALTHY_S + MARGIN_S)

with subtest("only root can read the directory and its files"):
    assert core.succeed(f"stat -c '%a %U' {FOLDER}").split() == ["700", "root"]
    for line in core.succeed(f"stat -c '%a %U %n' {FOLDER}/*").splitlines():
        assert line.split()[:2] == ["400", "root"], line

with subtest("each service has exactly the secrets of the graph"):
    for service, names in CREDENTIALS.items():
        unit = f"barnabee-{service}.service"
        if core.execute(f"systemctl show -p SubState --value {unit} | grep -q running")[0]:
            continue
        found = set(core.succeed(f"ls /run/credentials/{unit} 2>/dev/null || true").split())
        expected = (set(names) | ADDED.get(service, set())) - UNUSED - REPLACEABLE
        assert found == expected, f"{unit}: {sorted(found)}"

with subtest("no process has the token in its environment or command line"):
    core.fail(f"grep -lsaF -f {PATTERN} /proc/[0-9]*/environ /proc/[0-9]*/cmdline")

with subtest("only litestream has the bucket's key in its environment"):
    pids = core.succeed("grep -lsa AWS_SECRET_ACCESS_KEY /proc/[0-9]*/environ || true").split()
    programs = {core.succeed(f"cat {pid.replace('environ', 'comm')}").strip() for pid in pids}
    assert programs <= {"litestream"}, programs

with subtest("the token is not in units, logs or data"):
    core.fail(f"grep -rlsF -f {PATTERN} /etc/systemd /run/systemd/system /data")
    core.fail(f"journalctl --no-pager -o cat | grep -F -f {PATTERN}")

with subtest("another user cannot read the token"):
    for path in (
        f"{FOLDER}/{TOKEN_NAME}",
        f"/run/credentials/barnabee-api.service/{TOKEN_NAME}",
        "/run/barnabee-tokens/api/tokens.json",
        "/run/barnabee-tokens/voice/talk_token",
        "/run/barnabee-redis-passwords/redis_api_password",
    ):
        core.succeed(f"test -s {path}")
        core.fail(f"runuser -u nobody -- cat {path}")

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()
