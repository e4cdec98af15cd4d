# ruff: noqa: F821 - the names are those of the NixOS test driver
"""Script of the VM test health-cascade; HEALTHY_S and RECOVER_S come from system.toml."""

SERVICES = ("redis", "litestream", "worker", "api")


def activated_us(unit: str) -> int:
    """Return when a unit of core became active, in microseconds since boot."""
    command = f"systemctl show --value -p ActiveEnterTimestampMonotonic {unit}"
    return int(core.succeed(command))


start_all()
backup.wait_for_unit("s3.service")
gpu.wait_for_unit("barnabee-gpu.service")

with subtest("a cold boot reaches barnabee-healthy.target in time"):
    core.wait_for_unit("barnabee-healthy.target", timeout=HEALTHY_S + 30)
    started = activated_us("network-online.target")
    assert activated_us("barnabee-healthy.target") - started <= HEALTHY_S * 1_000_000

with subtest("services started in the order of the graph"):
    restored = activated_us("barnabee-restore.service")
    assert restored <= activated_us("barnabee-litestream.service")
    assert restored <= activated_us("barnabee-worker.service")
    assert activated_us("barnabee-redis.service") <= activated_us("barnabee-worker.service")
    assert restored <= activated_us("barnabee-api.service")

for service in SERVICES:
    with subtest(f"{service} is killed, and all services become healthy again"):
        unit = f"barnabee-{service}.service"
        core.succeed(f"systemctl kill --signal=KILL {unit}")
        core.wait_until_succeeds(f"systemctl is-active {unit}", timeout=RECOVER_S)
        core.succeed("systemctl restart barnabee-health.service")

with subtest("without database and replica no service starts on an empty database"):
    backup.succeed("systemctl stop s3.service")
    core.succeed("systemctl stop barnabee.target", "rm -rf /data/*")
    core.execute("systemctl start --no-block barnabee.target")
    core.wait_until_succeeds("systemctl show -p ActiveState barnabee-restore | grep activating")
    core.fail("systemctl is-active barnabee-api.service")
