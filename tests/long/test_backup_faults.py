"""A slow or failing object store, and the number of its requests."""

from __future__ import annotations

import asyncio
import time

import pytest

from barnabee.backup import api_usage, drill, litestream
from barnabee.backup.api_usage import LitestreamSample
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


async def test_estimated_calls_match_those_seen_by_a_proxy(
    deployment: ReplicatedDeployment, s3_proxy: S3Proxy
) -> None:
    fast = {"compact_every_s": [2, 6], "transactions_kept_s": 3, "transactions_check_s": 4}
    deployment.system = deployment.system.model_copy(
        update={"replica": deployment.system.replica.model_copy(update=fast)}
    )
    await record_turns(deployment, range(3))
    deployment.start_litestream()
    before: LitestreamSample | None = None
    a = b = c = 0
    for number in range(12):
        await record_turns(deployment, range(10 + number, 11 + number))
        lag = await deployment.wait_until_replicated()
        await asyncio.sleep(1)  # windows end by the clock alone
        port = deployment.system.port("litestream")
        text = await litestream.fetch_metrics("127.0.0.1", port)
        now = api_usage.parse_metrics(text, time.time(), lag.local_txid)
        found = api_usage.estimate_calls(deployment.system.replica, before, now, {})
        a, b, c, before = a + found[0], b + found[1], c + found[2], now
    seen = s3_proxy.classes
    print(f"\nestimated a={a} b={b} c={c}, seen by the proxy {seen}")
    assert a == pytest.approx(seen["a"], abs=4)
    assert b == pytest.approx(seen["b"], abs=6)  # validations are counted by the clock
    assert c == pytest.approx(seen["c"], rel=0.35)
