"""Response bodies of the status, turn and login routes.

`scripts/api_types.py` generates src/dashboard/api/types.ts from the OpenAPI document.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

State = Literal["healthy", "degraded", "unhealthy", "unknown"]


class Schema(BaseModel):
    """JSON object that can be built from an object with the same attributes."""

    model_config = ConfigDict(from_attributes=True)


class WakeWords(Schema):
    """Configured wake words."""

    words: list[str]


class LanguageModelInfo(Schema):
    """The language model's server, and what is sent to it, from which rooms (empty: all)."""

    provider: str
    server: str
    model: str
    rooms: list[str]
    sent: list[str]


class SystemResponse(Schema):
    """Public part of system.toml."""

    version: str
    services: dict[str, dict[str, Any]]
    companions: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]
    card: dict[str, Any]
    voice: dict[str, Any]
    stage_budgets_ms: dict[str, int]
    stage_titles: dict[str, str]
    acceptance: dict[str, int]
    filler: dict[str, Any]
    wake: WakeWords
    talk: dict[str, Any]
    limits: dict[str, int]
    retention: dict[str, int]
    hosts: dict[str, dict[str, Any]]
    language_model: LanguageModelInfo | None


class CapabilityStatus(Schema):
    """State of one capability of the assistant, with a sentence for the family."""

    key: str
    title: str
    state: State
    says: str
    since_s: float


class DependencyStatus(Schema):
    """State of a dependency; without a `hard` one the service does not work."""

    name: str
    state: State
    hard: bool
    code: str | None
    message: str | None
    since_s: float


class ServiceStatus(Schema):
    """State of a service; `good` if nothing but unconfigured dependencies is missing."""

    name: str
    summary: str
    state: State
    good: bool
    code: str | None
    message: str | None
    since_s: float
    needs: list[DependencyStatus]


class RoomStatus(Schema):
    """Connected room and the state of its conversation."""

    room: str
    state: str
    since_s: float


class ProbeStatus(Schema):
    """Result of the last voice probe."""

    at_s: float
    success: bool
    stages_ms: dict[str, float]
    over_budget: list[str]


class StatusResponse(Schema):
    """State of the whole installation; null for what is not available here."""

    state: State
    abilities: list[CapabilityStatus]
    services: list[ServiceStatus]
    rooms: list[RoomStatus] | None
    probe: ProbeStatus | None
    alerts: list[AlertStatus] | None
    beat_s: float


class AlertStatus(Schema):
    """Active alert."""

    name: str
    severity: str
    summary: str
    since_s: float


class TurnEvent(Schema):
    """Event: a command was answered."""

    trace_id: str
    session_id: str
    utterance: str
    reply: str
    intent: str
    degraded: list[str]
    code: str | None
    total_ms: float


class TurnTimingsEvent(Schema):
    """Event: the timings of a spoken turn have arrived."""

    trace_id: str
    room: str


class StageTimingResponse(Schema):
    """Start of a stage, relative to the end of speech, and its duration."""

    at_ms: float
    took_ms: float


class TurnTimingsResponse(Schema):
    """What the voice service measured of a turn."""

    trace_id: str
    room: str
    said_at: str
    stages: dict[str, StageTimingResponse]
    engine: str | None
    filler: str | None
    interrupted: bool
    heard: str | None
    degraded: list[str]
    code: str | None
    created_at: str


class TurnResponse(Schema):
    """One utterance and its reply."""

    trace_id: str
    session_id: str
    speaker: str | None
    utterance: str
    reply: str
    intent: str
    actions: list[dict[str, Any]]
    degraded: list[str]
    latency_ms: dict[str, float]
    created_at: str
    spoken: TurnTimingsResponse | None


class TurnPage(Schema):
    """Turns, newest first; `next` is the value of `before` for the next page."""

    turns: list[TurnResponse]
    next: str | None


class WaterfallStage(Schema):
    """Stage in a waterfall."""

    stage: str
    service: str
    at_ms: float
    took_ms: float
    budget_ms: int | None
    over_budget: bool


class WaterfallError(Schema):
    """Error during a turn."""

    service: str
    code: str
    message: str


class LogLine(Schema):
    """Log record; `more` has its other fields."""

    timestamp: str
    component: str
    level: str
    event: str
    more: dict[str, Any]


class WaterfallResponse(Schema):
    """Durations of the stages of a turn; `why` explains the delay, the largest part first."""

    trace_id: str
    total_ms: float
    stages: list[WaterfallStage]
    errors: list[WaterfallError]
    why: list[str]
    lines: list[LogLine] | None
    turn: TurnResponse | None
    spoken: TurnTimingsResponse | None


class WebSessionResponse(Schema):
    """Browser that is logged in; times in seconds since the epoch."""

    id: str
    name: str
    since_s: int
    seen_s: int
    this: bool


class LoginLinkResponse(Schema):
    """One-time login link."""

    path: str
    good_for_s: int


class ExtensibleSchema(Schema):
    """Object whose additional fields are passed on unchanged."""

    model_config = ConfigDict(from_attributes=True, extra="allow")


StatusResponse.model_rebuild()
