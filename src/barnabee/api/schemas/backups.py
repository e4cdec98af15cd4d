"""How the backups are as the page gets it; `backup.status` says it so."""

from __future__ import annotations

from barnabee.api.schemas.status import OpenShape


class DrillShape(OpenShape):
    """One drill: the newest copies, restored to scratch and compared."""

    started_at: str
    took_ms: int
    success: bool
    step: str | None
    code: str | None
    reason: str | None
    restore_ms: int
    bytes: int
    rows: int
    snapshot: str | None
    offsite: bool


class DrillsNow(OpenShape):
    """What drills there were and when the next one is; the newest last."""

    last: DrillShape | None
    last_verified_at: str | None
    next_at: str
    requested: bool
    history: list[DrillShape]


class ReplicaNow(OpenShape):
    """The stream of the database to its copy."""

    url: str
    lag_transactions: int | None
    error: str | None


class SnapshotNow(OpenShape):
    """The newest daily snapshot, and how many are kept."""

    newest: str | None
    at: str | None
    bytes: int | None
    encrypted: bool | None
    count: int
    next_at: str


class BackupsNow(OpenShape):
    """How safe what the house remembers is; `warnings` are sentences."""

    replica: ReplicaNow
    snapshot: SnapshotNow
    drill: DrillsNow
    calls_today: dict[str, int]
    recovery_key: bool
    offsite: str | None
    warnings: list[str]
