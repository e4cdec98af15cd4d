"""One trace id through every log line, row and call (W3C Trace Context, `traceparent`).

Pure but for the context variables; knows no web framework.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

HEADER = "traceparent"
_SHAPE = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_NOTHING = "0" * 32

trace_id_var: ContextVar[str] = ContextVar("trace_id", default="")
# Of what this task was asked for; empty unless spans are exported (core/tracing.py).
span_id_var: ContextVar[str] = ContextVar("span_id", default="")


def new_trace_id() -> str:
    """Return 32 random hexadecimal digits."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Return whether `text` has the form of a trace id."""
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def parse(header: str | None) -> str | None:
    """Return the trace id of a `traceparent` value, or None when it is not one."""
    found = _SHAPE.fullmatch((header or "").strip())
    return found[1] if found and found[1] != _NOTHING else None


def parent(header: str | None) -> str | None:
    """Return the caller's span id of a `traceparent` value, or None when it is not one."""
    found = _SHAPE.fullmatch((header or "").strip())
    return found[2] if found and found[2] != _NOTHING[:16] else None


def adopt(header: str | None) -> str:
    """Take the caller's trace id, or make one, for the rest of this task; return it."""
    trace_id = parse(header) or new_trace_id()
    trace_id_var.set(trace_id)
    return trace_id


def current() -> str:
    """Return this task's trace id, or an empty string outside a request."""
    return trace_id_var.get()


def headers() -> dict[str, str]:
    """Return what a client sends along so that the callee's lines carry the same id."""
    trace_id = current() or new_trace_id()
    span_id = span_id_var.get() or secrets.token_hex(8)
    return {HEADER: f"00-{trace_id}-{span_id}-01"}
