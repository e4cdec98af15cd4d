# ruff: noqa: F821 - the names are those of the NixOS test driver and of secrets.nix
"""The script of the VM test secrets: values that no build has ever seen, looked for everywhere."""

import secrets
import shlex

# The token of the house's own services; the bucket's key is the S3 server's and stays.
token = secrets.token_hex(24)
MINE = "api_token"

start_all()
backup.wait_for_unit("s3.service")
core.wait_for_unit("multi-user.target")
core.succeed(f"printf %s {token} > {FOLDER}/{MINE}")
core.succeed("systemctl start --no-block barnabee-healthy.target")
core.wait_for_unit("barnabee-api.service", timeout=HEALTHY_S + 60)
core.wait_for_unit("barnabee-worker.service", timeout=HEALTHY_S + 60)
core.wait_for_unit("barnabee-litestream.service", timeout=HEALTHY_S + 60)

with subtest("the folder and its files are root's alone"):
    assert core.succeed(f"stat -c '%a %U' {FOLDER}").split() == ["700", "root"]
    for line in core.succeed(f"stat -c '%a %U %n' {FOLDER}/*").splitlines():
        assert line.split()[:2] == ["400", "root"], line

with subtest("each service has the secrets that the graph gives it, and no other"):
    for service, names in CREDENTIALS.items():
        unit = f"barnabee-{service}.service"
        if core.execute(f"systemctl show -p SubState --value {unit} | grep -q running")[0]:
            continue
        found = set(core.succeed(f"ls /run/credentials/{unit} 2>/dev/null || true").split())
        assert found == set(names) - UNUSED, f"{unit}: {sorted(found)}"

with subtest("the token is in nobody's environment and on nobody's command line"):
    core.fail(f"grep -lsaF {token} /proc/[0-9]*/environ /proc/[0-9]*/cmdline")

with subtest("the bucket's key is in litestream's environment alone"):
    pids = core.succeed("grep -lsa AWS_SECRET_ACCESS_KEY /proc/[0-9]*/environ || true").split()
    names = {core.succeed(f"cat {pid.replace('environ', 'comm')}").strip() for pid in pids}
    assert names <= {"litestream"}, names

with subtest("nothing of it is in the store, in a unit, in the log or in the data"):
    closure = "$(nix-store --query --requisites /run/current-system)"
    core.fail(f"grep -rlsF {token} {closure}", timeout=600)
    core.fail(f"grep -rlsF {token} /etc/systemd /run/systemd/system /data")
    core.fail(f"journalctl --no-pager -o cat | grep -F {token}")

with subtest("a stranger on the machine reads none of it"):
    for path in (f"{FOLDER}/{MINE}", f"/run/credentials/barnabee-api.service/{MINE}"):
        core.fail(f"runuser -u nobody -- cat {shlex.quote(path)}")
