"""Failure of the language model, with the code of what its server answered or did not."""

from __future__ import annotations

from typing import Final, Literal

from barnabee.core.errors.transient import Unavailable

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
_WORDS: Final[dict[LlmFailureCode, str]] = {
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
        words = _WORDS.get(failure, failure)
        super().__init__(failure=words, reason=reason, retry_after_s=retry_after_s)
        self.code = failure  # type: ignore[misc]
