"""What the caller can mend."""

from __future__ import annotations

from barnabee.core.errors.base import BarnabeeError


class BadInput(BarnabeeError):
    """{what}."""

    code = "bad_input"
    status = 400
    exit_code = 2


class BadRequest(BadInput):
    """The request's {field} is not usable: {reason}."""

    code = "bad_request"


class InvalidUtterance(BadInput):
    """The field `utterance` {reason}."""

    code = "invalid_utterance"


class InvalidAudio(BadInput):
    """The field `file` is not usable audio: {reason}."""

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
    """This needs a token: send `Authorization: Bearer …`, or open the link that `barnabee link`
    prints.
    """

    code = "unauthorized"
    status = 401


class LinkUsed(BadInput):
    """This link has been used or is too old: run `barnabee link` for a new one."""

    code = "link_used"
    status = 401


class CrossSite(BadInput):
    """Another site's page asked for this in the name of a browser that is logged in."""

    code = "cross_site"
    status = 403


class RateLimited(BadInput):
    """Too many requests from this client: the limit is {limit} a minute."""

    code = "rate_limited"
    status = 429


class ModelInUse(BadInput):
    """The model {model} cannot be unloaded now: {reason}."""

    code = "model_in_use"
    status = 409


class Replaced(BadInput):
    """Somebody else talks in the room {room} now: there is one microphone to a room."""

    code = "replaced"
    status = 409


class TooFast(BadInput):
    """More than {ahead_s} s of sound came ahead of its time: send it as fast as it sounds."""

    code = "too_fast"
    status = 409
