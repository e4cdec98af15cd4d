"""Parsers of an inference service's responses: embeddings, transcriptions, health and errors.

Pure. Foreign servers have OpenAI's API only: floats where base64 was requested, errors as
{"error": {"message"}}, no health report.
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
# Errors of the request itself. All others are faults of the installation: its token, model names,
# memory, damaged files.
_REQUEST_ERRORS = {
    error.code: error for error in (BadRequest, InvalidAudio, InvalidUtterance, TooLarge)
}
_STATUSES = {400: "bad_request", 413: "too_large", 415: "invalid_audio", 422: "bad_request"}


@dataclass(frozen=True, slots=True)
class TranscriptionResult:
    """Result of speech recognition."""

    text: str
    duration_s: float
    language: str
    engine: str


def parse_error(response: httpx.Response, name: str = NAME) -> BarnabeeError | None:
    """Return the error of a response, None when it is a success.

    BadInput with the service's code, status and message when the request is at fault; Overloaded
    when another server or a later retry may succeed; DependencyDown otherwise.
    """
    if not response.is_error:
        return None
    code, message = _parse_refusal(response)
    later_s = parse_retry_after_s(response)
    if code in _OVERLOADED or response.status_code == _TOO_MANY:
        return Overloaded(what=name, retry_after_s=later_s or 1)
    if response.status_code in _STATUSES:
        code = code if code in _REQUEST_ERRORS else _STATUSES[response.status_code]
        error = BadInput(what=message.rstrip("."))
        error.code, error.status = code, _REQUEST_ERRORS[code].status  # type: ignore[misc]
        return error
    return DependencyDown(dependency=name, reason=message, retry_after_s=later_s)


def parse_retry_after_s(response: httpx.Response) -> int | None:
    """Return Retry-After in seconds, 1 to 3600; None when it is missing or invalid."""
    given = response.headers.get("retry-after", "")
    if given.isascii() and given.isdecimal():
        return max(1, min(int(given[:6]), 3600))
    try:
        until, now = (
            parsedate_to_datetime(date) for date in (given, response.headers.get("date", ""))
        )
        return max(1, min(round((until - now).total_seconds()), 3600))
    except (TypeError, ValueError):  # neither a number nor comparable dates
        return None


def parse_vectors(response: httpx.Response, count: int) -> NDArray[np.float32]:
    """Return (count, width) float32 rows of unit length, in the order of the request."""
    import numpy as np  # noqa: PLC0415 - not needed for speech

    with wrap_parse_errors():
        data: list[dict[str, Any]] = response.json()["data"]
        data.sort(key=lambda row: int(row.get("index", 0)))
        rows = [_decode_embedding(row["embedding"]) for row in data]
        if len(rows) != count:
            raise ValueError(f"{len(rows)} embeddings for {count} texts")
        embeddings = np.frombuffer(b"".join(rows), "<f4").reshape(count, -1)
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
            raise ValueError("an embedding without a finite length")
        # our own service sends unit length, which must stay bit-identical
        normalised = bool(np.all(np.abs(lengths - 1) < 1e-3))  # noqa: PLR2004 - rounding of int8
        return embeddings if normalised else np.asarray(embeddings / lengths, np.float32)


def parse_transcription(response: httpx.Response, language: str) -> TranscriptionResult:
    """Return the transcription; foreign servers may send only the text."""
    with wrap_parse_errors():
        body = response.json()
        return TranscriptionResult(
            text=str(body["text"]),
            duration_s=float(body.get("duration") or 0),
            language=str(body.get("language") or language),
            engine=str(body.get("engine") or "unknown"),
        )


def is_health_report(response: httpx.Response) -> bool:
    """Return whether this is the health report of one of our services."""
    try:
        report = response.json()
    except ValueError:
        return False
    return isinstance(report, dict) and {"status", "dependencies"} <= report.keys()


def parse_health(response: httpx.Response, name: str = NAME) -> Degraded | None:
    """Return None for a healthy service, Degraded for a degraded one, or raise DependencyDown."""
    with wrap_parse_errors():
        report = response.json()
        problems = {
            key: check["message"]
            for key, check in report["dependencies"].items()
            if check["status"] != "healthy"
        }
        status = report["status"]
    text = "; ".join(f"{key}: {message}" for key, message in problems.items())
    if response.is_error:
        raise DependencyDown(dependency=name, reason=f"{status}: {text}")
    return Degraded("gpu_degraded", f"{name}: {text}") if problems else None


@contextmanager
def wrap_parse_errors(name: str = NAME) -> Iterator[None]:
    """Raise DependencyDown for an invalid response."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"invalid response: {error}"
        raise DependencyDown(dependency=name, reason=reason) from error


def _decode_embedding(embedding: str | list[float]) -> bytes:
    import numpy as np  # noqa: PLC0415 - not needed for speech

    if isinstance(embedding, str):
        return base64.b64decode(embedding, validate=True)
    with np.errstate(over="ignore"):  # the length check rejects infinity
        return np.asarray(embedding, "<f4").tobytes()


def _parse_refusal(response: httpx.Response) -> tuple[str, str]:
    """Return code and message of our own, OpenAI's or FastAPI's ({"detail"}) error body."""
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
