"""Trace ids of requests (W3C Trace Context, header `traceparent`).

The ids are context variables of the current task. Knows no web framework.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

HEADER = "traceparent"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_ZEROS = "0" * 32

trace_id_var: ContextVar[str] = ContextVar("trace_id", default="")
# Span of the current request; empty unless spans are exported (core/tracing.py).
span_id_var: ContextVar[str] = ContextVar("span_id", default="")


def new_trace_id() -> str:
    return secrets.token_hex(16)


def is_trace_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def parse_trace_id(header: str | None) -> str | None:
    """Return the trace id of a `traceparent` value, or None if it is invalid."""
    match = _TRACEPARENT.fullmatch((header or "").strip())
    return match[1] if match and match[1] != _ZEROS else None


def parse_parent_id(header: str | None) -> str | None:
    """Return the caller's span id of a `traceparent` value, or None if it is invalid."""
    match = _TRACEPARENT.fullmatch((header or "").strip())
    return match[2] if match and match[2] != _ZEROS[:16] else None


def adopt_trace_id(header: str | None) -> str:
    """Set the caller's trace id, or a new one, for the rest of this task; return it."""
    trace_id = parse_trace_id(header) or new_trace_id()
    trace_id_var.set(trace_id)
    return trace_id


def get_trace_id() -> str:
    """Return this task's trace id, or an empty string outside a request."""
    return trace_id_var.get()


def make_headers() -> dict[str, str]:
    """Return the headers that pass the trace id on to another service."""
    trace_id = get_trace_id() or new_trace_id()
    span_id = span_id_var.get() or secrets.token_hex(8)
    return {HEADER: f"00-{trace_id}-{span_id}-01"}
