"""What the api depends on: the database (hard), and everything else it can do without."""

from __future__ import annotations

from barnabee.core.errors import DependencyDown
from barnabee.core.health import HealthCheck, HealthProbe
from barnabee.core.redis_client import RedisClient

# Written by the worker every 2 s and gone 3 s later.
WORKER_HEARTBEAT = "barnabee:heartbeat:worker"


def checks(
    *,
    database: HealthProbe,
    redis: RedisClient,
    gpu: HealthProbe,
    optional: dict[str, HealthProbe],
) -> list[HealthCheck]:
    """Return the checks; `optional` are soft ones that this house has configured."""

    async def worker_lives() -> None:
        if not await redis.command("EXISTS", WORKER_HEARTBEAT):
            raise DependencyDown(dependency="worker", reason="its heartbeat is missing")

    soft: dict[str, HealthProbe] = {"redis": redis.ping, "gpu": gpu, "worker": worker_lives, **optional}
    return [
        HealthCheck("database", database, hard=True),
        *(HealthCheck(name, probe, hard=False) for name, probe in soft.items()),
    ]
