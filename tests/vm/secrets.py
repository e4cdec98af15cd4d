# ruff: noqa: F821 - the names are those of the NixOS test driver and of secrets.nix
"""Script of the VM test secrets: searches the machine for a value created at run time."""

import secrets
import shlex

# The API token; the bucket's key stays that of the S3 server.
token = secrets.token_hex(24)
TOKEN_NAME = "api_token"

start_all()
backup.wait_for_unit("s3.service")
core.wait_for_unit("multi-user.target")
core.succeed(f"printf %s {token} > {FOLDER}/{TOKEN_NAME}")
core.succeed("systemctl restart barnabee-tokens.service")
core.succeed("systemctl start --no-block barnabee-healthy.target")
core.wait_for_unit("barnabee-api.service", timeout=HEALTHY_S + 60)
core.wait_for_unit("barnabee-worker.service", timeout=HEALTHY_S + 60)
core.wait_for_unit("barnabee-litestream.service", timeout=HEALTHY_S + 60)

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
        expected = (set(names) | ADDED.get(service, set())) - UNUSED
        assert found == expected, f"{unit}: {sorted(found)}"

with subtest("no process has the token in its environment or command line"):
    core.fail(f"grep -lsaF {token} /proc/[0-9]*/environ /proc/[0-9]*/cmdline")

with subtest("only litestream has the bucket's key in its environment"):
    pids = core.succeed("grep -lsa AWS_SECRET_ACCESS_KEY /proc/[0-9]*/environ || true").split()
    names = {core.succeed(f"cat {pid.replace('environ', 'comm')}").strip() for pid in pids}
    assert names <= {"litestream"}, names

with subtest("the token is not in the store, units, logs or data"):
    closure = "$(nix-store --query --requisites /run/current-system)"
    core.fail(f"grep -rlsF {token} {closure}", timeout=600)
    core.fail(f"grep -rlsF {token} /etc/systemd /run/systemd/system /data")
    core.fail(f"journalctl --no-pager -o cat | grep -F {token}")

with subtest("another user cannot read the token"):
    for path in (
        f"{FOLDER}/{TOKEN_NAME}",
        f"/run/credentials/barnabee-api.service/{TOKEN_NAME}",
        "/run/barnabee-tokens/api/tokens.json",
        "/run/barnabee-tokens/voice/talk_token",
        "/run/barnabee-redis-passwords/redis_api_password",
    ):
        core.succeed(f"test -s {shlex.quote(path)}")
        core.fail(f"runuser -u nobody -- cat {shlex.quote(path)}")
