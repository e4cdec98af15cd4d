"""Runs the five criteria on one house."""

from __future__ import annotations

import asyncio

from barnabee.accept import measures
from barnabee.accept.criteria import Row
from barnabee.accept.measures import Fire, Limits
from barnabee.accept.target import Target


async def run(target: Target, fire: Fire | None) -> list[Row]:
    """Return the rows in the specification's order; `fire` sends the test alert, where one can."""
    limits = Limits.of(target.system)
    # the cascade is looked at before anything here asks the house for work
    start = await measures.start_rows(target, limits)
    log, replica, alert = await asyncio.gather(
        measures.log_row(target, limits.log_query),
        measures.replica_row(target, limits.replica, target.system.acceptance.replica_sync_s),
        measures.alert_row(limits.alert, fire),
    )
    return [*start, log, replica, alert]
