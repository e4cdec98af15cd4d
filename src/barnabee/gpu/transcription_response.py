"""What was heard, in the form that OpenAI's API gives it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from barnabee.gpu.engines.protocols import Segment, Word


@dataclass(frozen=True, slots=True)
class Heard:
    """Segments and where they come from; degraded when a better engine could not be had."""

    segments: Sequence[Segment]
    language: str
    duration_s: float
    engine: str
    degraded: bool

    @property
    def text(self) -> str:
        """Return everything that was said."""
        return "".join(segment.text for segment in self.segments).strip()

    @property
    def confidence(self) -> float | None:
        """Return how sure the engine is of all of it, 0 to 1; None when nothing was said."""
        if not self.segments:
            return None
        logs = [segment.average_log_probability for segment in self.segments]
        return min(1.0, math.exp(sum(logs) / len(logs)))


def body(heard: Heard, *, verbose: bool, words: bool) -> dict[str, Any]:
    """Return the JSON body; `verbose` adds segments, and words where they were asked for."""
    confidence = heard.confidence
    found: dict[str, Any] = {
        "text": heard.text,
        "language": heard.language,
        "duration": round(heard.duration_s, 3),
        "engine": heard.engine,
        "degraded": heard.degraded,
        "confidence": None if confidence is None else round(confidence, 4),
    }
    if verbose:
        rows = [_segment(*pair) for pair in enumerate(heard.segments)]
        found |= {"task": "transcribe", "segments": rows}
        if words:
            found["words"] = [_word(one) for segment in heard.segments for one in segment.words]
    return found


def _segment(number: int, segment: Segment) -> dict[str, object]:
    return {
        "id": number,
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "avg_logprob": round(segment.average_log_probability, 4),
        "no_speech_prob": round(segment.no_speech_probability, 4),
        "confidence": round(segment.confidence, 4),
    }


def _word(word: Word) -> dict[str, object]:
    return {
        "word": word.text.strip(),
        "start": round(word.start_s, 3),
        "end": round(word.end_s, 3),
        "confidence": round(word.confidence, 4),
    }
