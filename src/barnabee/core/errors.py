"""Every failure a person or a program can meet, as one tree.

    BarnabeeError
    ├── BadInput            the caller can mend it (4xx, exit 2)
    │   ├── BadRequest · InvalidAudio · InvalidUtterance · TooLarge · NotFound
    │   ├── Unauthorized · LinkUsed · CrossSite · ModelInUse · Replaced · TooFast
    │   └── RateLimited
    ├── Misconfigured       whoever runs the house can mend it (500, exit 2)
    │   ├── SystemFileInvalid · SettingMissing · SettingInvalid
    │   └── ModelMissing · ModelDamaged · PortTaken · AlreadyRunning
    └── Unavailable         it may pass by itself (503, exit 1)
        ├── DependencyDown · Loading · Overloaded · QueueFull · TimedOut · NotRunning · SetUpFailed
        ├── VramTooLarge · VramKept · VramTaken · VramStuck · VramExhausted · EngineStuck
        ├── DatabaseCorrupt · DatabaseReadOnly · DatabaseFull · DatabaseTooNew · DatabaseMismatch
        ├── BackupUnreachable · BackupDamaged · BackupFailed
        └── ProbeFailed · AlertLost · NotTheHolder

The class docstring *is* the message: its fields are filled by keyword. `code` is the same word in
an HTTP body, a metric label, a log line and on the dashboard. This module knows no service.
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
        """Fill the docstring's fields; `retry_after_s` becomes the Retry-After header."""
        self.fields = fields
        self.retry_after_s = retry_after_s
        super().__init__(
            " ".join(inspect.cleandoc(type(self).__doc__ or "").split()).format(**fields)
        )

    def body(self, trace_id: str) -> dict[str, str]:
        """Return the HTTP body: code, message and trace id."""
        message = str(self)
        if len(message) > _MESSAGE_MAX_CHARS:  # it may quote the caller, but not megabytes of it
            message = f"{message[:500]} … {message[-400:]}"
        return {"code": self.code, "message": message, "trace_id": trace_id}


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
    """{name} is not usable ({reason}): {hint}."""

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
    """Port {port} of {service} is taken by {owner}: stop that program, or change
    `service.{service}.port` in system.toml.
    """

    code = "port_taken"


class AlreadyRunning(Misconfigured):
    """BarnabeeNet already runs from {home} (pid {pid}): look with `./barnabee status`, or stop it
    with `./barnabee down`.
    """

    code = "already_running"


class Unavailable(BarnabeeError):
    """{what}."""

    code = "unavailable"
    status = 503


class DependencyDown(Unavailable):
    """{dependency} does not answer ({reason})."""

    code = "dependency_down"


class Loading(Unavailable):
    """{what} is still loading: try again in a moment."""

    code = "loading"


class Overloaded(Unavailable):
    """{what} is busy: try again in a moment."""

    code = "overloaded"


class QueueFull(Unavailable):
    """The model {model} is not to be had now: {why}; too many wait for memory already."""

    code = "queue_full"
    status = 429


class VramTooLarge(Unavailable):
    """The model {model} can never be loaded here: {why}."""

    code = "vram_too_large"


class VramKept(Unavailable):
    """The model {model} cannot be loaded now: {why}."""

    code = "vram_kept"


class VramTaken(Unavailable):
    """The model {model} cannot be loaded now: {why}; `GET /v1/vram` says by whom."""

    code = "vram_taken"


class VramStuck(Unavailable):
    """The model {model} cannot be loaded now: {why}."""

    code = "vram_stuck"


class VramExhausted(Unavailable):
    """The model {model} ran out of memory, and again after room was made for it ({why})."""

    code = "vram_exhausted"


class EngineStuck(Unavailable):
    """The engine {engine} has computed for more than {limit_ms} ms without an end."""

    code = "engine_stuck"


class TimedOut(Unavailable):
    """{what} took longer than {limit_ms} ms."""

    code = "timed_out"


class NotRunning(Unavailable):
    """Nothing is running: start it with `./barnabee up`."""

    code = "not_running"


class SetUpFailed(Unavailable):
    """Setting up {what} failed ({reason}): {hint}."""

    code = "set_up_failed"


class DatabaseCorrupt(Unavailable):
    """The database {path} is damaged ({reason}): it was left as it is; run `barnabee restore`."""

    code = "database_corrupt"


class DatabaseReadOnly(Unavailable):
    """The database {path} cannot be written: check its owner, mode and mount."""

    code = "database_read_only"


class DatabaseFull(Unavailable):
    """The disk that holds the database {path} is full: free some space, nothing accepted was
    lost.
    """

    code = "database_full"


class DatabaseTooNew(Unavailable):
    """The database {path} has schema {found}, this program knows up to {known}: switch to the
    newer program, or run `barnabee restore`.
    """

    code = "database_too_new"


class DatabaseMismatch(Unavailable):
    """The database {path} was made with another text of migration {name}: run the program that
    made it, or `barnabee restore`.
    """

    code = "database_mismatch"


class BackupUnreachable(Unavailable):
    """The replica {url} cannot be asked whether a backup exists ({reason}): nothing was started
    on an empty database, so that no backup is overwritten.
    """

    code = "backup_unreachable"


class BackupDamaged(Unavailable):
    """What the replica {url} gives back is not a sound database ({reason}): nothing was changed;
    choose an earlier moment with `barnabee restore --at`.
    """

    code = "backup_damaged"


class BackupFailed(Unavailable):
    """The {what} failed at the step `{step}` ({reason}): what was there before is as it was."""

    code = "backup_failed"


class ProbeFailed(Unavailable):
    """The voice path fails at `{stage}`: {reason}."""

    code = "probe_failed"


class NotTheHolder(Unavailable):
    """This machine may not write to the database now: {reason}."""

    code = "not_the_holder"


class AlertLost(Unavailable):
    """The test alert was lost after {hop}: {why}."""

    code = "alert_lost"
