"""Base class of all errors, and permanent ones: the client or the operator has to change something.

Retrying does not help.
"""

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


class BadInput(BarnabeeError):
    """{what}."""

    code = "bad_input"
    status = 400
    exit_code = 2


class BadRequest(BadInput):
    """The {field} is invalid: {reason}."""

    code = "bad_request"


class InvalidUtterance(BadInput):
    """The field `utterance` {reason}."""

    code = "invalid_utterance"


class InvalidAudio(BadInput):
    """The field `file` is not valid audio: {reason}."""

    code = "invalid_audio"


class TooLarge(BadInput):
    """The {field} is larger than the limit of {limit}."""

    code = "too_large"
    status = 413


class NotFound(BadInput):
    """There is no {what}."""

    code = "not_found"
    status = 404


class Unauthorized(BadInput):
    """Authentication required: send `Authorization: Bearer …`, or open the link that
    `barnabee link` prints.
    """

    code = "unauthorized"
    status = 401


class Forbidden(BadInput):
    """This needs a token of the scope {required}; the one given has the scope {given}."""

    code = "forbidden"
    status = 403


class LinkInvalid(BadInput):
    """This link has been used or has expired: run `barnabee link` for a new one."""

    code = "link_used"
    status = 401


class CrossSiteRequest(BadInput):
    """The request was refused because a page of another site sent it."""

    code = "cross_site"
    status = 403


class RateLimited(BadInput):
    """Too many requests from this client: the limit is {limit} per minute."""

    code = "rate_limited"
    status = 429


class ModelInUse(BadInput):
    """The model {model} cannot be unloaded: {reason}."""

    code = "model_in_use"
    status = 409


class MicrophoneReplaced(BadInput):
    """Another microphone has taken over the room {room}: a room has one microphone."""

    code = "replaced"
    status = 409


class AudioTooFast(BadInput):
    """The audio arrived more than {ahead_s} s ahead of real time: send it in real time."""

    code = "too_fast"
    status = 409


class Misconfigured(BarnabeeError):
    """{what}."""

    code = "misconfigured"
    exit_code = 2


class SystemFileInvalid(Misconfigured):
    """{problems}"""

    code = "system_file_invalid"


class SettingMissing(Misconfigured):
    """{name} is not set: {hint}."""

    code = "setting_missing"


class SettingInvalid(Misconfigured):
    """{name} is invalid ({reason}): {hint}."""

    code = "setting_invalid"


class ModelMissing(Misconfigured):
    """The model {model} is not in {directory}: run `barnabee models fetch`, or set
    BARNABEE_MODELS.
    """

    code = "model_missing"


class ModelDamaged(Misconfigured):
    """The model file {path} is damaged ({reason}): delete it and run `barnabee models fetch`."""

    code = "model_damaged"


class PortTaken(Misconfigured):
    """Port {port} of {service} is in use by {owner}: stop that program, or change
    `service.{service}.port` in system.toml.
    """

    code = "port_taken"


class AlreadyRunning(Misconfigured):
    """BarnabeeNet is already running from {home} (pid {pid}): see `./barnabee status`, or stop it
    with `./barnabee down`.
    """

    code = "already_running"
