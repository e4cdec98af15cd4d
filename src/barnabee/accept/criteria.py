"""Acceptance criteria, and the measurement of each; every failure becomes a result with a reason.

The log and replica measurements leave one request and one command in the system's records.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import httpx

from barnabee.accept.alert_delivery import HOME_ASSISTANT_HOP, DeliveryReport
from barnabee.accept.startup import StartTimes
from barnabee.accept.target import AcceptanceTarget, start_trace
from barnabee.core.errors import BarnabeeError, DependencyDown, NotFound, SettingMissing
from barnabee.core.schema import System


class CriterionStatus(StrEnum):
    """Outcome of a criterion."""

    PASSED = "passed"
    FAILED = "failed"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """Result of one criterion: `value` and `limit` in `unit`; `source` says where it was read."""

    name: str
    status: CriterionStatus
    limit: int
    unit: str
    value: float | None = None
    source: str = ""
    reason: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "criterion": self.name,
            "verdict": self.status.value,
            "figure": self.value,
            "limit": self.limit,
            "unit": self.unit,
            "source": self.source,
            "why": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Criterion:
    """A limit that a measured value must not exceed."""

    name: str
    limit: int
    unit: str

    def judge(self, value: float, source: str, *, problem: str = "") -> CriterionResult:
        """Return the result: passed if the value is within the limit and there is no problem."""
        value = round(value, 2)
        reason = problem
        if not reason and value > self.limit:
            reason = f"{value:g} {self.unit} is more than {self.limit}"
        status = CriterionStatus.FAILED if reason else CriterionStatus.PASSED
        return CriterionResult(self.name, status, self.limit, self.unit, value, source, reason)

    def fail(self, reason: str, source: str = "") -> CriterionResult:
        """Return the result of a measurement that failed."""
        status = CriterionStatus.FAILED
        return CriterionResult(self.name, status, self.limit, self.unit, None, source, reason)

    def skip(self, reason: str) -> CriterionResult:
        """Return the result of a criterion that cannot be measured here."""
        status = CriterionStatus.UNCHECKED
        return CriterionResult(self.name, status, self.limit, self.unit, reason=reason)


def is_accepted(results: Sequence[CriterionResult], *, allow_unchecked: bool) -> bool:
    """Return whether every criterion passed; unchecked ones only count as passed if allowed."""
    bad = {CriterionStatus.FAILED}
    if not allow_unchecked:
        bad.add(CriterionStatus.UNCHECKED)
    return bool(results) and not any(result.status in bad for result in results)


_POLL_S = 0.2
_QUESTION = "what time is it"
_SESSION = "accept"
# How long after its reply a command may take to become a row of the database.
_ROW_TIMEOUT_S = 10.0
_OK = 200

# Sends a test alert; the argument limits each hop, in seconds.
SendTestAlert = Callable[[float], Awaitable[DeliveryReport]]


@dataclass(frozen=True)
class AcceptanceCriteria:
    """The five acceptance criteria."""

    cold_start: Criterion
    cascade: Criterion
    log_query: Criterion
    replica: Criterion
    alert: Criterion

    @classmethod
    def from_system(cls, system: System) -> AcceptanceCriteria:
        """Return the criteria with the limits of system.toml."""
        limits = system.acceptance
        return cls(
            Criterion("cold start to operational", limits.cold_start_s, "s"),
            Criterion("health cascade", limits.healthy_s, "s"),
            Criterion("log aggregation", limits.log_query_s, "s"),
            Criterion("replica lag", limits.replica_lag_txids, "txids"),
            Criterion("test alert", limits.alert_s, "s"),
        )


async def measure_all(
    target: AcceptanceTarget, send_test_alert: SendTestAlert | None
) -> list[CriterionResult]:
    """Return the results in the specification's order."""
    criteria = AcceptanceCriteria.from_system(target.system)
    # The cascade is probed before the other measurements cause load.
    startup = await measure_startup(target, criteria)
    log, replica, alert = await asyncio.gather(
        measure_log_query(target, criteria.log_query),
        measure_replica_lag(target, criteria.replica, target.system.acceptance.replica_sync_s),
        measure_alert(criteria.alert, send_test_alert),
    )
    return [*startup, log, replica, alert]


async def measure_startup(
    target: AcceptanceTarget, criteria: AcceptanceCriteria
) -> list[CriterionResult]:
    """Return the results of the cold start and of the health cascade."""
    try:
        times = await target.read_start_times() if target.read_start_times else None
    except (OSError, ValueError, KeyError) as error:
        reason = f"the record of the start cannot be read: {error}"
        return [criteria.cold_start.fail(reason), criteria.cascade.fail(reason)]
    return [
        _judge_cold_start(times, criteria.cold_start),
        await _measure_cascade(target, times, criteria.cascade),
    ]


def _judge_cold_start(times: StartTimes | None, criterion: Criterion) -> CriterionResult:
    if times is None:
        return criterion.skip("the start is recorded on the target itself: run this command there")
    if times.cold_s is None:
        return criterion.fail("it has not been healthy since it was started", times.source)
    return criterion.judge(times.cold_s, times.source)


async def _measure_cascade(
    target: AcceptanceTarget, times: StartTimes | None, criterion: Criterion
) -> CriterionResult:
    begun_s = time.monotonic()
    try:
        problem = "; ".join(await target.list_problems())
    except BarnabeeError as error:
        return criterion.fail(str(error))
    if times is None:  # without a record of the start: the duration of the probes
        return criterion.judge(time.monotonic() - begun_s, "probed now", problem=problem)
    if times.cascade_s is None:
        return criterion.fail(problem or "it was never healthy", times.source)
    return criterion.judge(times.cascade_s, f"{times.source}, and probed now", problem=problem)


async def measure_log_query(target: AcceptanceTarget, criterion: Criterion) -> CriterionResult:
    """Measure how long it takes until a query returns the log line of a new request."""
    if target.logs is None:
        return criterion.skip("LOKI_URL is not set, and a remote log cannot be read without it")
    trace_id, headers = start_trace()
    find_lines, source = target.logs.find_lines, target.logs.source
    begun_s = time.monotonic()
    try:
        await _request(target.api, "/api/system", headers)
        while True:
            took_s = time.monotonic() - begun_s
            lines = await find_lines(trace_id)
            if any(line.get("component") == "api" for line in lines):
                return criterion.judge(time.monotonic() - begun_s, source)
            if took_s > criterion.limit:
                reason = f"the line of trace {trace_id} is not found after {took_s:.1f} s"
                return criterion.fail(reason, source)
            await asyncio.sleep(_POLL_S)
    except BarnabeeError as error:
        return criterion.fail(str(error), source)


async def measure_replica_lag(
    target: AcceptanceTarget, criterion: Criterion, timeout_s: float
) -> CriterionResult:
    """Measure how many transactions the replica lacks after a new row was written."""
    if target.measure_lag is None:
        return criterion.skip("litestream's socket is on the target: run this command there")
    source = "litestream's transaction ids"
    try:
        before = await target.measure_lag(timeout_s)
        took_s = await _write_row(target.api)
        begun_s = time.monotonic()
        after = await target.measure_lag(timeout_s)
        took_s += time.monotonic() - begun_s
    except NotFound as error:
        return criterion.skip(str(error))
    except (BarnabeeError, OSError) as error:
        return criterion.fail(str(error), source)
    if after.local_txid <= before.local_txid:
        reason = f"the new row did not change the database's transaction id ({after.local_txid})"
        return criterion.fail(reason, source)
    source += f": {after.local_txid} here, {after.replica_txid} in the replica, {took_s:.1f} s"
    return criterion.judge(after.transactions, source)


async def measure_alert(
    criterion: Criterion, send_test_alert: SendTestAlert | None
) -> CriterionResult:
    """Measure how long it takes until Home Assistant shows a test alert."""
    if send_test_alert is None:
        return criterion.skip(
            "no Alertmanager: set ALERTMANAGER_URL, or start with `up --demo-home --monitoring`"
        )
    source = "Home Assistant's notifications"
    try:
        report = await send_test_alert(criterion.limit)
    except SettingMissing as error:  # there is no Home Assistant
        return criterion.skip(str(error))
    except (BarnabeeError, OSError) as error:
        return criterion.fail(str(error))
    if not report.ok:
        return criterion.fail(str(report.error()), source)
    names = [hop.name for hop in report.hops]
    hops = report.hops[: names.index(HOME_ASSISTANT_HOP) + 1]
    return criterion.judge(sum(hop.took_ms for hop in hops) / 1000, source)


async def _write_row(api: httpx.AsyncClient) -> float:
    """Send a command; return how long it took until the turn was a row of the database."""
    trace_id, headers = start_trace()
    begun_s = time.monotonic()
    command = {"utterance": _QUESTION, "session_id": _SESSION}
    try:
        response = await api.post("/v1/command", json=command, headers=headers)
        if response.status_code != _OK:
            reason = f"a command was answered with {response.status_code}"
            raise DependencyDown(dependency="api", reason=reason)
        while time.monotonic() - begun_s < _ROW_TIMEOUT_S:
            if (await api.get(f"/v1/turns/{trace_id}")).status_code == _OK:
                return time.monotonic() - begun_s
            await asyncio.sleep(_POLL_S)
    except httpx.HTTPError as error:
        raise DependencyDown(dependency="api", reason=str(error) or "no answer") from error
    reason = f"turn {trace_id} is not in the database after {_ROW_TIMEOUT_S:g} s"
    raise DependencyDown(dependency="worker", reason=reason)


async def _request(api: httpx.AsyncClient, path: str, headers: dict[str, str]) -> None:
    try:
        response = await api.get(path, headers=headers)
    except httpx.HTTPError as error:
        raise DependencyDown(dependency="api", reason=str(error) or "no answer") from error
    if response.status_code != _OK:
        reason = f"{path} was answered with {response.status_code}"
        raise DependencyDown(dependency="api", reason=reason)
