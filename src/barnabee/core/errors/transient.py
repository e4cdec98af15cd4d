"""What may pass by itself."""

from __future__ import annotations

from barnabee.core.errors.base import BarnabeeError


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
