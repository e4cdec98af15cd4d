"""A refusal is not damage: restores through a store that fails at random."""

from __future__ import annotations

import asyncio
from pathlib import Path

from barnabee.backup.replica import LitestreamReplica
from barnabee.core.errors import BackupDamaged, StoreFailed
from support.benchmark import choose_size
from support.replica import ReplicatedDeployment, record_turns
from support.s3_proxy import S3Proxy

FAULTS = choose_size(1000, 30)
AT_ONCE = 4


async def test_random_transient_faults_are_never_taken_for_damage(
    deployment: ReplicatedDeployment, s3_proxy: S3Proxy, tmp_path: Path
) -> None:
    deployment.start_litestream()
    for begin in range(0, 60, 20):
        await record_turns(deployment, range(begin, begin + 20))
        await deployment.wait_until_replicated()
    deployment.stop_litestream()
    s3_proxy.mode, s3_proxy.hide = "random", "ltx"
    remote = LitestreamReplica(deployment.system, deployment.settings, stall_s=6)
    seen: dict[str, int] = {}

    async def restore(number: int) -> None:
        while s3_proxy.faults < FAULTS:
            outcome = "restored"
            try:
                await remote.fetch_intact(tmp_path / f"{number}.db", limit_s=8)
            except (StoreFailed, BackupDamaged) as error:
                outcome = error.code
            seen[outcome] = seen.get(outcome, 0) + 1

    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(restore(number))
    print(f"\n{s3_proxy.faults} faults in {sum(seen.values())} restores: {seen}")
    assert BackupDamaged.code not in seen
    assert s3_proxy.faults >= FAULTS
