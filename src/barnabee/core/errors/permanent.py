"""Permanent errors: the client has to change the request, or the operator the configuration.

Retrying does not help.
"""

from __future__ import annotations

from barnabee.core.errors.base import BarnabeeError


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
