"""Errors of switches."""

from __future__ import annotations

from barnabee.core.errors import Misconfigured, Unavailable


class DeployRefused(Misconfigured):
    """Nothing was changed: {reason}."""

    code = "deploy_refused"


class DeployBusy(Unavailable):
    """The switch {id} is in progress ({state}): follow it with `barnabee deploys follow {id}`."""

    code = "deploy_busy"


class StepFailed(Unavailable):
    """{what} failed ({reason})."""

    code = "deploy_step_failed"
