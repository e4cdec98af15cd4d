"""Runs the five criteria on one house."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from barnabee.accept import measures
from barnabee.accept.criteria import Limit, Row
from barnabee.accept.measures import Limits
from barnabee.accept.target import Target
from barnabee.alerts import trial
from barnabee.alerts.trial import Trial

TryAlert = Callable[[], Awaitable[Trial]]


async def run(target: Target, try_alert: TryAlert | None = None) -> list[Row]:
    """Return the rows in the specification's order; `try_alert` is how an alert is tried here."""
    limits = Limits.of(target.system)
    # the cascade is looked at before anything here asks the house for work
    start = await measures.start_rows(target, limits)
    log, replica, alert = await asyncio.gather(
        measures.log_row(target, limits.log_query),
        measures.replica_row(target, limits.replica, target.system.acceptance.replica_sync_s),
        measures.alert_row(
            limits.alert,
            _fire(limits.alert, try_alert) if try_alert else None,
            "no Alertmanager: set ALERTMANAGER_URL",
        ),
    )
    return [*start, log, replica, alert]


def _fire(limit: Limit, try_alert: TryAlert) -> Callable[[], Awaitable[Row]]:
    async def fire() -> Row:
        tried = await try_alert()
        source = "shown by Home Assistant"
        if not tried.ok:
            return limit.failed(str(tried.error()), source)
        return limit.measured(trial.delivered_s(tried), source)

    return fire
