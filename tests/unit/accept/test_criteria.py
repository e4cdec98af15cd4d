"""When a criterion passes, and when the system is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from barnabee.accept.alert_delivery import DeliveryReport, Hop
from barnabee.accept.criteria import (
    Criterion,
    CriterionResult,
    CriterionStatus,
    is_accepted,
    measure_alert,
    measure_replica_lag,
)
from barnabee.accept.target import _make_remote_target
from barnabee.core import system
from barnabee.core.errors import SettingMissing
from barnabee.core.settings import Settings

LIMIT = Criterion("health cascade", 60, "s")
PASSED = LIMIT.judge(60.0, "x")
FAILED = LIMIT.judge(60.1, "x")
UNCHECKED = LIMIT.skip("no journal")


def test_a_value_at_its_limit_passes_and_one_above_fails() -> None:
    assert (PASSED.status, PASSED.reason) == (CriterionStatus.PASSED, "")
    assert (FAILED.status, FAILED.reason) == (CriterionStatus.FAILED, "60.1 s is more than 60")


def test_a_problem_fails_a_value_within_its_limit() -> None:
    row = LIMIT.judge(1.0, "x", problem="gpu: no answer")
    assert (row.status, row.reason, row.value) == (CriterionStatus.FAILED, "gpu: no answer", 1.0)


@pytest.mark.parametrize(
    ("results", "strict", "lenient"),
    [
        ([PASSED, PASSED], True, True),
        ([PASSED, UNCHECKED], False, True),
        ([FAILED, PASSED], False, False),
        ([FAILED, UNCHECKED], False, False),
        ([], False, False),
    ],
)
def test_acceptance_depends_on_every_result(
    results: list[CriterionResult], *, strict: bool, lenient: bool
) -> None:
    assert is_accepted(results, allow_unchecked=False) is strict
    assert is_accepted(results, allow_unchecked=True) is lenient


LAG = Criterion("replica lag", 0, "txids")
ALERT = Criterion("test alert", 60, "s")


class Api:
    """An api that writes turns and reports a given state of its replica."""

    def __init__(self, behind: int = 0, *, writes: bool = True, **replica: Any) -> None:
        self.txid = 7
        self.behind = behind
        self.writes = writes
        self.replica = replica
        self.status = 200

    def respond(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/backups":
            reported = {"txid": self.txid, "lag_transactions": self.behind, "error": None}
            return httpx.Response(self.status, json={"replica": reported | self.replica})
        if request.url.path == "/v1/command":
            self.txid += self.writes
        return httpx.Response(200, json={})

    async def measure(self, monkeypatch: pytest.MonkeyPatch) -> CriterionResult:
        file = Path(__file__).resolve().parents[3] / "system.toml"
        monkeypatch.setenv("BARNABEE_SYSTEM", str(file))
        system.get_system.cache_clear()
        transport = httpx.MockTransport(self.respond)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            return await measure_replica_lag(_make_remote_target(http, Settings(), None), LAG, 1.0)


async def test_a_replica_that_has_the_row_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    result = await Api().measure(monkeypatch)
    assert (result.status, result.value) == (CriterionStatus.PASSED, 0)
    assert "8 here, 8 in the replica" in result.source


async def test_a_lagging_replica_fails_with_its_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    result = await Api(behind=2).measure(monkeypatch)
    assert (result.status, result.value, result.reason) == (
        CriterionStatus.FAILED,
        2,
        "2 txids is more than 0",
    )


async def test_an_unchanged_transaction_id_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    result = await Api(writes=False).measure(monkeypatch)
    assert result.status is CriterionStatus.FAILED
    assert "did not change" in result.reason


async def test_a_replica_error_fails_with_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    result = await Api(error="litestream hangs").measure(monkeypatch)
    assert (result.status, "litestream hangs" in result.reason) == (CriterionStatus.FAILED, True)


async def test_an_api_without_backup_status_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    api.status = 404
    assert (await api.measure(monkeypatch)).status is CriterionStatus.UNCHECKED


async def test_an_alert_counts_until_home_assistant_shows_it() -> None:
    hops = (Hop("Prometheus", 10, ""), Hop("Alertmanager", 40, ""), Hop("Home Assistant", 950, ""))
    report = DeliveryReport("t", (*hops, Hop("ended", 1, ""), Hop("dismissed", 9000, "")), ok=True)

    async def send_test_alert(limit_s: float) -> DeliveryReport:
        assert limit_s == 60
        return report

    result = await measure_alert(ALERT, send_test_alert)
    assert (result.status, result.value) == (CriterionStatus.PASSED, 1.0)


async def test_a_lost_alert_names_the_last_hop() -> None:
    async def send_test_alert(_limit_s: float) -> DeliveryReport:
        return DeliveryReport(
            "t", (Hop("Prometheus", 10, ""),), ok=False, why="after 60 s: nothing"
        )

    result = await measure_alert(ALERT, send_test_alert)
    assert (result.status, "Prometheus" in result.reason) == (CriterionStatus.FAILED, True)


async def test_without_home_assistant_an_alert_is_not_checked() -> None:
    async def send_test_alert(_limit_s: float) -> DeliveryReport:
        raise SettingMissing(name="HOME_ASSISTANT_URL", hint="say where it is")

    result = await measure_alert(ALERT, send_test_alert)
    assert result.status is CriterionStatus.UNCHECKED
    assert "HOME_ASSISTANT_URL" in result.reason
