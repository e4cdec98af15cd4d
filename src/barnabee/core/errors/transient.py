"""Transient errors: retrying may help."""

from __future__ import annotations

from typing import Final, Literal

from barnabee.core.errors.permanent import BarnabeeError


class Unavailable(BarnabeeError):
    """{what}."""

    code = "unavailable"
    status = 503


class DependencyDown(Unavailable):
    """{dependency} does not answer ({reason})."""

    code = "dependency_down"


class StillLoading(Unavailable):
    """{what} is still loading: try again in a moment."""

    code = "loading"


class Overloaded(Unavailable):
    """{what} is busy: try again in a moment."""

    code = "overloaded"


class QueueFull(Unavailable):
    """The model {model} is not available: {why}, and the queue for memory is full."""

    code = "queue_full"
    status = 429


class VramTooLarge(Unavailable):
    """The model {model} does not fit into this machine's memory: {why}."""

    code = "vram_too_large"


class VramNotEvictable(Unavailable):
    """The model {model} cannot be loaded now: {why}."""

    code = "vram_kept"


class VramUsedByOthers(Unavailable):
    """The model {model} cannot be loaded now: {why}; `GET /v1/vram` shows the other programs."""

    code = "vram_taken"


class VramNotReleased(Unavailable):
    """The model {model} cannot be loaded now: {why}."""

    code = "vram_stuck"


class VramExhausted(Unavailable):
    """The model {model} ran out of memory twice, the second time after an eviction ({why})."""

    code = "vram_exhausted"


class EngineStuck(Unavailable):
    """The engine {engine} has not finished within {limit_ms} ms."""

    code = "engine_stuck"


class TimedOut(Unavailable):
    """{what} took longer than {limit_ms} ms."""

    code = "timed_out"


class NotRunning(Unavailable):
    """BarnabeeNet is not running: start it with `./barnabee up`."""

    code = "not_running"


class StateUnknown(Unavailable):
    """The state of BarnabeeNet is unknown: its runner (pid {pid}) has written none for {age_s} s,
    because it hangs or the disk is full.
    """

    code = "state_unknown"


class SetupFailed(Unavailable):
    """The setup of {what} failed ({reason}): {hint}."""

    code = "set_up_failed"


class DatabaseCorrupt(Unavailable):
    """The database {path} is damaged ({reason}) and was not changed: run `barnabee restore`."""

    code = "database_corrupt"


class DatabaseReadOnly(Unavailable):
    """The database {path} cannot be written: check its owner, mode and mount."""

    code = "database_read_only"


class DatabaseFull(Unavailable):
    """The disk of the database {path} is full: free some space. No accepted data was lost."""

    code = "database_full"


class DatabaseTooNew(Unavailable):
    """The database {path} has schema version {found}, but this program supports only {known}: use
    the newer program, or run `barnabee restore`.
    """

    code = "database_too_new"


class DatabaseMismatch(Unavailable):
    """The database {path} was migrated with a different version of migration {name}: use the
    program that migrated it, or run `barnabee restore`.
    """

    code = "database_mismatch"


class BackupUnreachable(Unavailable):
    """The replica {url} is not reachable ({reason}), so it is unknown whether a backup exists:
    nothing was started, so that no backup is overwritten.
    """

    code = "backup_unreachable"


class BackupDamaged(Unavailable):
    """The database restored from the replica {url} is damaged ({reason}). Nothing was changed:
    choose an earlier time with `barnabee restore --at`.
    """

    code = "backup_damaged"


class BackupFailed(Unavailable):
    """The {what} failed at the step `{step}` ({reason}). Nothing was changed."""

    code = "backup_failed"


class ProbeFailed(Unavailable):
    """The voice probe failed at `{stage}`: {reason}."""

    code = "probe_failed"


class LeaseNotHeld(Unavailable):
    """This machine does not have permission to write to the database: {reason}."""

    code = "not_the_holder"


class AlertNotDelivered(Unavailable):
    """The test alert was not delivered after {hop}: {why}."""

    code = "alert_lost"


class HomeRefused(BarnabeeError):
    """Home Assistant does not carry out {service}: {reason}."""

    code = "home_refused"
    status = 502


LlmFailureCode = Literal[
    "rate_limited",
    "stalled",
    "cut_short",
    "filtered",
    "not_found",
    "unauthorized",
    "not_allowed",
    "timed_out",
    "dependency_down",
]
_LLM_FAILURES: Final[dict[LlmFailureCode, str]] = {
    "rate_limited": "accepts no more requests now",
    "stalled": "stopped in the middle of its answer",
    "cut_short": "did not complete its answer",
    "filtered": "did not answer because of its content filter",
    "not_found": "is not known to its server",
    "unauthorized": "did not accept the key",
    "not_allowed": "may not be used here",
    "timed_out": "took too long",
    "dependency_down": "does not answer",
}


class LlmFailed(Unavailable):
    """The language model {failure} ({reason})."""

    code = "llm_failed"  # an instance has its own

    def __init__(
        self, failure: LlmFailureCode, reason: str, *, retry_after_s: int | None = None
    ) -> None:
        words = _LLM_FAILURES.get(failure, failure)
        super().__init__(failure=words, reason=reason, retry_after_s=retry_after_s)
        self.code = failure  # type: ignore[misc]
