# ruff: noqa: F821 - the names are those of the NixOS test driver, of default.nix and of prelude.py
"""Script of the check health-cascade."""

KILLED = ("redis", "litestream", "worker", "api", "voice")


def activated_us(unit: str) -> int:
    """Return when a unit of core became active, in microseconds since boot."""
    command = f"systemctl show --value -p ActiveEnterTimestampMonotonic {unit}"
    return int(core.succeed(command))


start_services()

with subtest("a cold boot reaches barnabee-healthy.target in time"):
    started = activated_us("network-online.target")
    assert activated_us("barnabee-healthy.target") - started <= HEALTHY_S * 1_000_000

with subtest("services started in the order of the graph"):
    restored = activated_us("barnabee-restore.service")
    assert restored <= activated_us("barnabee-litestream.service")
    assert restored <= activated_us("barnabee-worker.service")
    assert activated_us("barnabee-redis.service") <= activated_us("barnabee-worker.service")
    assert restored <= activated_us("barnabee-api.service")

for service in KILLED:
    with subtest(f"{service} is killed, and all services become healthy again"):
        unit = f"barnabee-{service}.service"
        core.succeed(f"systemctl kill --signal=KILL {unit}")
        core.wait_until_succeeds(f"systemctl is-active {unit}", timeout=RECOVER_S)
        core.succeed("systemctl restart barnabee-health.service")

with subtest("without database and replica no service starts on an empty database"):
    backup.succeed("systemctl stop s3.service")
    stop_services()
    core.succeed("find /data -mindepth 1 -delete")
    core.succeed("systemctl start --no-block barnabee-healthy.target")
    core.wait_until_succeeds("systemctl show -p ActiveState barnabee-restore | grep activating")
    core.fail("systemctl is-active barnabee-api.service")

with subtest("once the replica can be reached, all services start"):
    backup.succeed("systemctl start s3.service")
    for service in SERVICES:
        wait_for(core, f"barnabee-{service}.service", COLD_START_S)
    core.succeed("systemctl restart barnabee-health.service")

with subtest("no unit has failed, and no journal has a traceback"):
    assert_sound()
