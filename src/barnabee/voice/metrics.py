"""The series of this service beside those every service has."""

from __future__ import annotations

from typing import Any, Literal

from prometheus_client import Counter, Gauge, Histogram

from barnabee.core.metrics import Metrics

_STAGE_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
# around the promise: the first sound of anything within 0.5 s, 0.9 s at the 95th percentile
_FIRST_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.2, 1.6, 2.5, 4.0, 8.0, 16.0)
Verdict = Literal["right", "needless", "missing"]
VERDICTS: tuple[Verdict, ...] = ("right", "needless", "missing")


class VoiceMetrics(Metrics):
    """Shared series and those of conversations."""

    stages: Histogram
    turns: Counter
    sessions: Gauge
    barge_ins: Counter
    fillers: Counter
    first_sound: Histogram

    def __post_init__(self) -> None:
        """Create the series."""
        super().__post_init__()
        registry = self.registry
        made: dict[str, Any] = {
            "stages": Histogram(
                "barnabee_stage_seconds",
                "Time a stage of a spoken turn took.",
                ("stage",),
                buckets=_STAGE_S,
                registry=registry,
            ),
            "turns": Counter(
                "barnabee_turns",
                "Spoken turns by how they went.",
                ("outcome", "code"),
                registry=registry,
            ),
            "sessions": Gauge(
                "barnabee_voice_sessions", "Rooms that are connected.", registry=registry
            ),
            "barge_ins": Counter(
                "barnabee_barge_ins", "Replies that somebody talked into.", registry=registry
            ),
            "fillers": Counter(
                "barnabee_fillers",
                "Turns by whether the filler was right.",
                ("verdict",),
                registry=registry,
            ),
            "first_sound": Histogram(
                "barnabee_first_sound_seconds",
                "From the end of speech to the first sound of anything, and of the reply.",
                ("of",),
                buckets=_FIRST_S,
                registry=registry,
            ),
        }
        self.__dict__.update(made)
        for verdict in VERDICTS:  # a rate needs a first value
            self.fillers.labels(verdict)
