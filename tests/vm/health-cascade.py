# ruff: noqa: F821 - the names are those of the NixOS test driver
"""The script of the VM test health-cascade; HEALTHY_S and RECOVER_S come from system.toml."""

SERVICES = ("redis", "litestream", "worker", "api")


def moment(unit: str) -> int:
    """Return when a unit of core became active, in microseconds since its boot."""
    asked = f"systemctl show --value -p ActiveEnterTimestampMonotonic {unit}"
    return int(core.succeed(asked))


start_all()
backup.wait_for_unit("s3.service")
gpu.wait_for_unit("barnabee-gpu.service")

with subtest("a cold boot reaches barnabee-healthy.target in time"):
    core.wait_for_unit("barnabee-healthy.target", timeout=HEALTHY_S + 30)
    started = moment("network-online.target")
    assert moment("barnabee-healthy.target") - started <= HEALTHY_S * 1_000_000

with subtest("the cascade came up in the order of the graph"):
    restored = moment("barnabee-restore.service")
    assert restored <= moment("barnabee-litestream.service")
    assert restored <= moment("barnabee-worker.service")
    assert moment("barnabee-redis.service") <= moment("barnabee-worker.service")
    assert restored <= moment("barnabee-api.service")

for service in SERVICES:
    with subtest(f"{service} dies, and the house is well again"):
        unit = f"barnabee-{service}.service"
        core.succeed(f"systemctl kill --signal=KILL {unit}")
        core.wait_until_succeeds(f"systemctl is-active {unit}", timeout=RECOVER_S)
        core.succeed("systemctl restart barnabee-health.service")

with subtest("without its database in place nothing starts on an empty one by mistake"):
    backup.succeed("systemctl stop s3.service")
    core.succeed("systemctl stop barnabee.target", "rm -rf /data/*")
    core.execute("systemctl start --no-block barnabee.target")
    core.wait_until_succeeds("systemctl show -p ActiveState barnabee-restore | grep activating")
    core.fail("systemctl is-active barnabee-api.service")
