"""What an inference service answered: vectors, transcripts, health and refusals, ours or foreign.

Pure. A foreign server speaks OpenAI's API and nothing else: floats where base64 was asked for,
errors as {"error": {"message"}}, no report of its health.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from barnabee.core.errors import (
    BadInput,
    BadRequest,
    BarnabeeError,
    DependencyDown,
    InvalidAudio,
    InvalidUtterance,
    Overloaded,
    TooLarge,
)
from barnabee.core.health import Degraded

if TYPE_CHECKING:
    import httpx
    import numpy as np
    from numpy.typing import NDArray

NAME = "gpu"
_TOO_MANY = 429
_OVERLOADED = frozenset({"overloaded", "queue_full", "rate_limited"})
# What is wrong with what was sent. All other refusals are the house's business, not the caller's:
# its token, its names of models, memory, damaged files.
_CALLERS = {one.code: one for one in (BadRequest, InvalidAudio, InvalidUtterance, TooLarge)}
_STATUSES = {400: "bad_request", 413: "too_large", 415: "invalid_audio", 422: "bad_request"}


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard."""

    text: str
    duration_s: float
    language: str
    engine: str


def error_of(response: httpx.Response, name: str = NAME) -> BarnabeeError | None:
    """Return what a refusal means to whoever asked; None when the answer is none.

    BadInput with the service's code, status and sentence when the request is at fault; Overloaded
    when somebody else should be asked, or later; DependencyDown for all else.
    """
    if not response.is_error:
        return None
    code, message = _refusal(response)
    later_s = retry_after_s(response)
    if code in _OVERLOADED or response.status_code == _TOO_MANY:
        return Overloaded(what=name, retry_after_s=later_s or 1)
    if response.status_code in _STATUSES:
        code = code if code in _CALLERS else _STATUSES[response.status_code]
        error = BadInput(what=message.rstrip("."))
        error.code, error.status = code, _CALLERS[code].status  # type: ignore[misc]
        return error
    return DependencyDown(dependency=name, reason=message, retry_after_s=later_s)


def retry_after_s(response: httpx.Response) -> int | None:
    """Return the Retry-After of an answer, at least 1; None when there is none that makes sense."""
    given = response.headers.get("retry-after", "")
    if given.isascii() and given.isdecimal():
        return max(1, min(int(given[:6]), 3600))
    try:
        until, now = (
            parsedate_to_datetime(one) for one in (given, response.headers.get("date", ""))
        )
        return max(1, min(round((until - now).total_seconds()), 3600))
    except (TypeError, ValueError):  # neither a number nor two dates that can be compared
        return None


def vectors(response: httpx.Response, count: int) -> NDArray[np.float32]:
    """Return (count, width) float32 rows of length 1, in the order of what was asked."""
    import numpy as np  # noqa: PLC0415 - callers that only speak need none

    with understood():
        data: list[dict[str, Any]] = response.json()["data"]
        data.sort(key=lambda row: int(row.get("index", 0)))
        rows = [_row(row["embedding"]) for row in data]
        if len(rows) != count:
            raise ValueError(f"{len(rows)} vectors for {count} texts")
        found = np.frombuffer(b"".join(rows), "<f4").reshape(count, -1)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
            raise ValueError("a vector without a length")
        # ours have length 1 already, and stay as they were sent
        even = bool(np.all(np.abs(lengths - 1) < 1e-3))  # noqa: PLR2004 - int8 models' rounding
        return found if even else np.asarray(found / lengths, np.float32)


def transcript(response: httpx.Response, language: str) -> Transcript:
    """Return what was heard; a foreign server may say no more than the text."""
    with understood():
        answer = response.json()
        return Transcript(
            text=str(answer["text"]),
            duration_s=float(answer.get("duration") or 0),
            language=str(answer.get("language") or language),
            engine=str(answer.get("engine") or "unknown"),
        )


def is_report(response: httpx.Response) -> bool:
    """Return whether this is the report of a service of ours."""
    try:
        report = response.json()
    except ValueError:
        return False
    return isinstance(report, dict) and {"status", "dependencies"} <= report.keys()


def health(response: httpx.Response, name: str = NAME) -> Degraded | None:
    """Return None when all engines work, Degraded when some do; DependencyDown when none."""
    with understood():
        report = response.json()
        bad = {
            key: one["message"]
            for key, one in report["dependencies"].items()
            if one["status"] != "healthy"
        }
        status = report["status"]
    told = "; ".join(f"{key}: {message}" for key, message in bad.items())
    if response.is_error:
        raise DependencyDown(dependency=name, reason=f"it is {status}: {told}")
    return Degraded("gpu_degraded", f"{name}: {told}") if bad else None


@contextmanager
def understood(name: str = NAME) -> Iterator[None]:
    """Turn an answer that makes no sense into a dependency that is down."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"an answer not understood: {error}"
        raise DependencyDown(dependency=name, reason=reason) from error


def _row(embedding: str | list[float]) -> bytes:
    import numpy as np  # noqa: PLC0415 - see above

    if isinstance(embedding, str):
        return base64.b64decode(embedding, validate=True)
    with np.errstate(over="ignore"):  # infinite is not a length either
        return np.asarray(embedding, "<f4").tobytes()


def _refusal(response: httpx.Response) -> tuple[str, str]:
    """Return code and sentence: ours, OpenAI's {"error": {…}}, FastAPI's {"detail"}, or none."""
    plain = f"status {response.status_code}"
    try:
        body = response.json()
    except ValueError:
        return "", plain
    if not isinstance(body, dict):
        return "", plain
    inner = body["error"] if isinstance(body.get("error"), dict) else body
    message = inner.get("message") or body.get("detail") or body.get("error")
    return str(inner.get("code")), message if isinstance(message, str) and message else plain
