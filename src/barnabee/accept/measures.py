"""Measures the criteria, one function each; every failure becomes a row that says why.

The log row and the replica row leave a real trace in the house: one request, one command.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from barnabee.accept.criteria import Limit, Row
from barnabee.accept.startup import Start
from barnabee.accept.target import Target, traced
from barnabee.alerts.delivery_test import Trial
from barnabee.core.errors import BarnabeeError, DependencyDown, NotFound, SettingMissing
from barnabee.core.schema import System

_AGAIN_S = 0.2
_QUESTION = "what time is it"
_SESSION = "accept"
# How long after its answer a command may take to be a row of the database.
_ROW_WITHIN_S = 10.0
_OK = 200
_SHOWN = "Home Assistant"  # the hop of a trial at which it has arrived

# Sends a test alert; each of its hops may take so many seconds.
Fire = Callable[[float], Awaitable[Trial]]


@dataclass(frozen=True)
class Limits:
    """The five promises."""

    cold_start: Limit
    cascade: Limit
    log_query: Limit
    replica: Limit
    alert: Limit

    @classmethod
    def of(cls, system: System) -> Limits:
        """Return them as system.toml has them."""
        told = system.acceptance
        return cls(
            Limit("cold start to operational", told.cold_start_s, "s"),
            Limit("health cascade", told.healthy_s, "s"),
            Limit("log aggregation", told.log_query_s, "s"),
            Limit("replica lag", told.replica_lag_txids, "txids"),
            Limit("test alert", told.alert_s, "s"),
        )


async def start_rows(target: Target, limits: Limits) -> list[Row]:
    """Return the rows of the cold start and of the cascade."""
    try:
        start = await target.start() if target.start else None
    except (OSError, ValueError, KeyError) as error:
        why = f"the record of the start cannot be read: {error}"
        return [limits.cold_start.failed(why), limits.cascade.failed(why)]
    return [_cold(start, limits.cold_start), await _cascade(target, start, limits.cascade)]


def _cold(start: Start | None, limit: Limit) -> Row:
    if start is None:
        return limit.unchecked("its record is on the house's own machine: run it there")
    if start.cold_s is None:
        return limit.failed("it has not been healthy since it was started", start.source)
    return limit.measured(start.cold_s, start.source)


async def _cascade(target: Target, start: Start | None, limit: Limit) -> Row:
    begun_s = time.monotonic()
    try:
        trouble = "; ".join(await target.cascade())
    except BarnabeeError as error:
        return limit.failed(str(error))
    if start is None:  # how long it takes to see that all is well, for want of a record
        return limit.measured(time.monotonic() - begun_s, "asked now", trouble=trouble)
    if start.cascade_s is None:
        return limit.failed(trouble or "it was never healthy", start.source)
    return limit.measured(start.cascade_s, f"{start.source}, and asked now", trouble=trouble)


async def log_row(target: Target, limit: Limit) -> Row:
    """Have a line written, and return how long until a query returned it."""
    if target.logs is None:
        return limit.unchecked("LOKI_URL is not set, and the log of another machine is not here")
    trace_id, headers = traced()
    find, source = target.logs.of_trace, target.logs.source
    begun_s = time.monotonic()
    try:
        await _get(target.api, "/api/system", headers)
        while True:
            took_s = time.monotonic() - begun_s
            found = await find(trace_id)
            if any(line.get("component") == "api" for line in found):
                return limit.measured(time.monotonic() - begun_s, source)
            if took_s > limit.most:
                why = f"the line of trace {trace_id} is not found after {took_s:.1f} s"
                return limit.failed(why, source)
            await asyncio.sleep(_AGAIN_S)
    except BarnabeeError as error:
        return limit.failed(str(error), source)


async def replica_row(target: Target, limit: Limit, within_s: float) -> Row:
    """Have a row written and return how many transactions the replica then lacks."""
    if target.lag is None:
        return limit.unchecked("litestream's socket is on the house's own machine: run it there")
    source = "litestream's transaction ids"
    try:
        before = await target.lag(within_s)
        took_s = await _write_row(target.api)
        begun_s = time.monotonic()
        after = await target.lag(within_s)
        took_s += time.monotonic() - begun_s
    except NotFound as error:
        return limit.unchecked(str(error))
    except (BarnabeeError, OSError) as error:
        return limit.failed(str(error), source)
    if after.local_txid <= before.local_txid:
        why = f"the row that was written did not move the database's id ({after.local_txid})"
        return limit.failed(why, source)
    told = f"{source}: {after.local_txid} here, {after.replica_txid} there, {took_s:.1f} s"
    return limit.measured(after.txids, told)


async def alert_row(limit: Limit, fire: Fire | None) -> Row:
    """Send a test alert, and return how long until Home Assistant showed it."""
    if fire is None:
        why = "no Alertmanager: set ALERTMANAGER_URL, or start with `up --demo-home --monitoring`"
        return limit.unchecked(why)
    try:
        trial = await fire(limit.most)
    except SettingMissing as error:  # there is no Home Assistant that could be asked
        return limit.unchecked(str(error))
    except (BarnabeeError, OSError) as error:
        return limit.failed(str(error))
    if not trial.ok:
        return limit.failed(str(trial.error()), "Home Assistant's own list")
    names = [hop.name for hop in trial.hops]
    there = trial.hops[: names.index(_SHOWN) + 1]
    return limit.measured(sum(hop.took_ms for hop in there) / 1000, "Home Assistant's own list")


async def _write_row(api: httpx.AsyncClient) -> float:
    """Ask the house something; return how long until the turn was a row of its database."""
    trace_id, headers = traced()
    begun_s = time.monotonic()
    command = {"utterance": _QUESTION, "session_id": _SESSION}
    try:
        answer = await api.post("/v1/command", json=command, headers=headers)
        if answer.status_code != _OK:
            reason = f"a command was answered with {answer.status_code}"
            raise DependencyDown(dependency="api", reason=reason)
        while time.monotonic() - begun_s < _ROW_WITHIN_S:
            if (await api.get(f"/v1/turns/{trace_id}")).status_code == _OK:
                return time.monotonic() - begun_s
            await asyncio.sleep(_AGAIN_S)
    except httpx.HTTPError as error:
        raise DependencyDown(dependency="api", reason=str(error) or "no answer") from error
    reason = f"turn {trace_id} is not in the database after {_ROW_WITHIN_S:g} s"
    raise DependencyDown(dependency="worker", reason=reason)


async def _get(api: httpx.AsyncClient, path: str, headers: dict[str, str]) -> None:
    try:
        answer = await api.get(path, headers=headers)
    except httpx.HTTPError as error:
        raise DependencyDown(dependency="api", reason=str(error) or "no answer") from error
    if answer.status_code != _OK:
        reason = f"{path} was answered with {answer.status_code}"
        raise DependencyDown(dependency="api", reason=reason)
