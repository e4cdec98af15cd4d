"""A slow or failing object store."""

from __future__ import annotations

import pytest

from barnabee.backup import drill
from support.backup import require_complete_restore, require_outage_without_loss
from support.replica import ReplicatedDeployment, record_turns
from support.s3_proxy import Mode, S3Proxy


@pytest.mark.parametrize("mode", ["error", "full"])
async def test_a_failing_store_shows_as_lag_and_loses_nothing(
    deployment: ReplicatedDeployment, s3_proxy: S3Proxy, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill, "REPLICATION_LIMIT_S", 2.0)
    await require_outage_without_loss(deployment, s3_proxy, mode)


async def test_a_slow_store_only_delays_replication(
    deployment: ReplicatedDeployment, s3_proxy: S3Proxy
) -> None:
    await record_turns(deployment, range(20))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    s3_proxy.mode, s3_proxy.slow_s = "slow", 0.5
    await record_turns(deployment, range(20, 28))
    await require_complete_restore(deployment)
