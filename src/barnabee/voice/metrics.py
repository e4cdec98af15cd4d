"""Metrics of the voice service."""

from __future__ import annotations

from typing import Any, Literal

from prometheus_client import Counter, Gauge, Histogram

from barnabee.core.metrics import Metrics

_STAGE_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
# Around the objective: first audio within 0.5 s, 0.9 s at the 95th percentile.
_FIRST_SOUND_BUCKETS_S = (
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1.2,
    1.6,
    2.5,
    4.0,
    8.0,
    16.0,
)
FillerVerdict = Literal["right", "needless", "missing"]
FILLER_VERDICTS: tuple[FillerVerdict, ...] = ("right", "needless", "missing")


class VoiceMetrics(Metrics):
    """Metrics of all services and of conversations."""

    stages: Histogram
    turns: Counter
    sessions: Gauge
    barge_ins: Counter
    fillers: Counter
    first_sound: Histogram

    def __post_init__(self) -> None:
        super().__post_init__()
        registry = self.registry
        made: dict[str, Any] = {
            "stages": Histogram(
                "barnabee_stage_seconds",
                "Duration of a stage of a spoken turn.",
                ("stage",),
                buckets=_STAGE_BUCKETS_S,
                registry=registry,
            ),
            "turns": Counter(
                "barnabee_turns",
                "Spoken turns by outcome.",
                ("outcome", "code"),
                registry=registry,
            ),
            "sessions": Gauge("barnabee_voice_sessions", "Connected rooms.", registry=registry),
            "barge_ins": Counter(
                "barnabee_barge_ins", "Replies interrupted by speech.", registry=registry
            ),
            "fillers": Counter(
                "barnabee_fillers",
                "Turns by whether the choice of a filler was right.",
                ("verdict",),
                registry=registry,
            ),
            "first_sound": Histogram(
                "barnabee_first_sound_seconds",
                "Time from the end of speech to the first audio of anything, and of the reply.",
                ("of",),
                buckets=_FIRST_SOUND_BUCKETS_S,
                registry=registry,
            ),
        }
        self.__dict__.update(made)
        for verdict in FILLER_VERDICTS:  # a rate needs a first value
            self.fillers.labels(verdict)
