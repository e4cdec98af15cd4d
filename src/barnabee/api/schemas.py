"""Request and response bodies of the API, as its OpenAPI document describes them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

State = Literal["healthy", "degraded", "unhealthy", "unknown"]


class Schema(BaseModel):
    """A JSON object; made from the attributes of what is inside."""

    model_config = ConfigDict(from_attributes=True)


class WakeWords(Schema):
    """What wakes it."""

    words: list[str]


class SystemResponse(Schema):
    """The public part of system.toml."""

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


class CapabilityStatus(Schema):
    """Whether the house can hear, think, speak or remember, in a sentence for the family."""

    key: str
    title: str
    state: State
    says: str
    since_s: float


class DependencyStatus(Schema):
    """One thing that a service depends on; `hard`: it does nothing without."""

    name: str
    state: State
    hard: bool
    code: str | None
    message: str | None
    since_s: float


class ServiceStatus(Schema):
    """A service; `good`: nothing is wrong with it but what nobody configured."""

    name: str
    summary: str
    state: State
    good: bool
    code: str | None
    message: str | None
    since_s: float
    needs: list[DependencyStatus]


class RoomStatus(Schema):
    """A room that is connected, and what its conversation is doing."""

    room: str
    state: str
    since_s: float


class ProbeStatus(Schema):
    """The last spoken question that the house asked itself."""

    at_s: float
    success: bool
    stages_ms: dict[str, float]
    over_budget: list[str]


class StatusResponse(Schema):
    """How everything is; null is what nobody here can tell."""

    state: State
    abilities: list[CapabilityStatus]
    services: list[ServiceStatus]
    rooms: list[RoomStatus] | None
    probe: ProbeStatus | None
    alerts: list[AlertStatus] | None
    beat_s: float


class AlertStatus(Schema):
    """An alert in force."""

    name: str
    severity: str
    summary: str
    since_s: float


class TurnEvent(Schema):
    """A turn that was just answered."""

    trace_id: str
    session_id: str
    utterance: str
    reply: str
    intent: str
    degraded: list[str]
    code: str | None
    total_ms: float


class TurnTimingsEvent(Schema):
    """What the voice measured of a turn has come."""

    trace_id: str
    room: str


class StageTimingResponse(Schema):
    """A stage by the voice's clock, from the moment the person stopped speaking."""

    at_ms: float
    took_ms: float


class TurnTimingsResponse(Schema):
    """How a turn was heard and spoken."""

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
    """One utterance and what came of it."""

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
    """Turns, newest first; `next` is the `before` of the page that follows."""

    turns: list[TurnResponse]
    next: str | None


class WaterfallStage(Schema):
    """A stage in a waterfall."""

    stage: str
    service: str
    at_ms: float
    took_ms: float
    budget_ms: int | None
    over_budget: bool


class WaterfallError(Schema):
    """Something that went wrong on the way."""

    service: str
    code: str
    message: str


class LogLine(Schema):
    """One line of the log; `more` are its other fields."""

    timestamp: str
    component: str
    level: str
    event: str
    more: dict[str, Any]


class WaterfallResponse(Schema):
    """Where the time of a turn went; `why` in sentences, the worst first."""

    trace_id: str
    total_ms: float
    stages: list[WaterfallStage]
    errors: list[WaterfallError]
    why: list[str]
    lines: list[LogLine] | None
    turn: TurnResponse | None
    spoken: TurnTimingsResponse | None


class WebSessionResponse(Schema):
    """A browser that is logged in; times in seconds since the epoch."""

    id: str
    name: str
    since_s: int
    seen_s: int
    this: bool


class LoginLinkResponse(Schema):
    """A way in for one more browser, good once."""

    path: str
    good_for_s: int


class ExtensibleSchema(Schema):
    """One of which the page reads a part; the rest is sent as it is."""

    model_config = ConfigDict(from_attributes=True, extra="allow")


StatusResponse.model_rebuild()
