"""The base class of all errors: message, code, HTTP status and exit status."""

from __future__ import annotations

import inspect
from typing import ClassVar

_MESSAGE_MAX_CHARS = 1000


class BarnabeeError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, *, retry_after_s: int | None = None, **fields: object) -> None:
        """`fields` fill the placeholders of the docstring; `retry_after_s` sets Retry-After."""
        self.fields = fields
        self.retry_after_s = retry_after_s
        super().__init__(
            " ".join(inspect.cleandoc(type(self).__doc__ or "").split()).format(**fields)
        )

    def body(self, trace_id: str) -> dict[str, str]:
        """Return the HTTP body: code, message and trace id."""
        message = str(self)
        if len(message) > _MESSAGE_MAX_CHARS:  # messages quote input, which may be megabytes
            message = f"{message[:500]} … {message[-400:]}"
        return {"code": self.code, "message": message, "trace_id": trace_id}
