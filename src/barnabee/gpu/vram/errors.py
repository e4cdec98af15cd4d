"""The error that each refusal of the ledger is to whoever asked. Pure."""

from __future__ import annotations

from barnabee.core.errors import (
    BarnabeeError,
    DependencyDown,
    QueueFull,
    TimedOut,
    VramKept,
    VramStuck,
    VramTaken,
    VramTooLarge,
)

RETRY_AFTER_S = 2
_ERRORS = {one.code: one for one in (VramTooLarge, VramKept, VramTaken, VramStuck, QueueFull)}


def error(code: str, model: str, why: str, limit_ms: int) -> BarnabeeError:
    """Return the error for a refusal; all but a model that is too large may pass by itself."""
    if code == TimedOut.code:
        return TimedOut(
            what=f"waiting for the model {model}", limit_ms=limit_ms, retry_after_s=RETRY_AFTER_S
        )
    known = _ERRORS.get(code)
    if known is None:
        return DependencyDown(dependency=model, reason=why, retry_after_s=RETRY_AFTER_S)
    later = None if known is VramTooLarge else RETRY_AFTER_S
    return known(model=model, why=why, retry_after_s=later)
