"""Fillers: phrases recorded in advance, and the estimate of whether a reply takes that long.

They are recorded at build or deployment time, since a filler must also play when the speech engine
is slow or down. Each phrase of system.toml is trimmed and written as `<category>_<i>.wav`; a
manifest records what each was made of, unchanged phrases are not recorded again, and equal input
gives equal bytes.

The estimate: a sentence takes 200 ms when all models are in VRAM, and seconds when one has to
be loaded or is busy with another room, so a constant would not do.
"""

from __future__ import annotations

import hashlib
import json
import random
import wave
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from barnabee.audio import wav
from barnabee.audio.samples import Samples
from barnabee.core.errors import Misconfigured
from barnabee.core.files import write_atomically
from barnabee.core.schema import FillerConfig, System

FillerContext = Literal["answer", "ask"]  # before an answer, or before a clarifying question
MANIFEST = "manifest.json"
RECIPE_VERSION = 1  # increase it to record all phrases again
SILENCE_DBFS = -50.0  # the noise of the engines around a phrase is below
FADE_S = 0.02  # silence kept at both ends and faded, to avoid clicks
MAX_SAMPLES = 50  # of each stage: about one evening
PERCENTILE = 75  # an unnecessary filler costs less than silence
ANY_INTENT = ""


@dataclass(frozen=True, slots=True)
class Clip:
    """Recorded phrase: 16-bit mono PCM and its text."""

    name: str  # <category>_<number>, the name of its file
    text: str
    pcm: bytes
    rate_hz: int

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / 2 / self.rate_hz


def select_category(
    context: FillerContext, processing_estimate_ms: int, limits: FillerConfig
) -> str | None:
    """Return the category of the filler, or None when the wait is too short for one. Pure.

    A clarifying question always begins with its filler, which is part of the question.
    """
    if context == "ask":
        return "clarification"
    if processing_estimate_ms < limits.none_below_ms:
        return None
    if processing_estimate_ms < limits.acknowledgment_below_ms:
        return "acknowledgment"
    return "thinking"


@dataclass
class FillerSelector:
    """Selects the fillers of one conversation; never the same one twice in a row."""

    clips: Mapping[str, Sequence[Clip]]  # by category
    limits: FillerConfig
    rng: random.Random = field(default_factory=random.Random)
    _last: str = ""

    def select_filler(self, context: FillerContext, processing_estimate_ms: int) -> Clip | None:
        """Return the clip to play; None when none is needed or recorded."""
        category = select_category(context, processing_estimate_ms, self.limits)
        known = self.clips.get(category, ()) if category else ()
        fresh = [clip for clip in known if clip.name != self._last] or list(known)
        if not fresh:
            return None
        chosen = self.rng.choice(fresh)
        self._last = chosen.name
        return chosen


@dataclass(frozen=True, slots=True)
class PhraseSynthesizer:
    """Speech engine for recordings; `identity` changes whenever its output would."""

    speak: Callable[[str], Samples]
    identity: Mapping[str, Any]
    rate_hz: int


@dataclass(frozen=True, slots=True)
class GenerationReport:
    """Names of the phrases that a run recorded, kept and removed."""

    recorded: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]


def list_phrases(system: System) -> dict[str, str]:
    """Return every phrase by the name of its file without suffix. Pure."""
    found: dict[str, str] = {}
    for category, phrases in system.filler.phrases_by_category().items():
        found |= {f"{category}_{number}": phrase for number, phrase in enumerate(phrases)}
    return found | {f"trouble_{name}": text for name, text in system.trouble.model_dump().items()}


def find_outdated(system: System, identity: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the names of the recordings that are missing, damaged or out of date."""
    known = _read_manifest(folder)
    return [
        name
        for name, phrase in list_phrases(system).items()
        if not _is_current(folder / f"{name}.wav", known.get(name, {}), _key(phrase, identity))
    ]


def generate_recordings(
    system: System,
    synthesizer: PhraseSynthesizer,
    folder: Path,
    report: Callable[[str], None] = lambda _name: None,
) -> GenerationReport:
    """Bring `folder` up to date; `report` is called with the name of each phrase when it is done.

    An interrupted run leaves complete files and the old manifest, and the next run continues it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known, entries = _read_manifest(folder), {}
    outdated = frozenset(find_outdated(system, synthesizer.identity, folder))
    for name, phrase in list_phrases(system).items():
        path = folder / f"{name}.wav"
        entries[name] = known.get(name, {})
        if name in outdated:
            _write(
                path,
                trim_silence(synthesizer.speak(phrase), synthesizer.rate_hz),
                synthesizer.rate_hz,
            )
            key = _key(phrase, synthesizer.identity)
            entries[name] = {"phrase": phrase, "key": key, "sha256": _sha256(path) or ""}
        report(name)
    removed = sorted(known.keys() - entries.keys())
    write_atomically(folder / MANIFEST, json.dumps({"files": entries}, indent=1) + "\n")
    for name in removed:
        (folder / f"{name}.wav").unlink(missing_ok=True)
    kept = tuple(name for name in entries if name not in outdated)
    return GenerationReport(
        tuple(name for name in entries if name in outdated), kept, tuple(removed)
    )


def load_recordings(folder: Path) -> dict[str, list[Clip]]:
    """Return the recordings by category; Misconfigured when one is missing or damaged."""
    entries = _read_manifest(folder)
    hint = "run `barnabee fillers generate`"
    if not entries:
        raise Misconfigured(what=f"There are no recorded phrases in {folder}: {hint}")
    found: dict[str, list[Clip]] = {}
    for name, entry in entries.items():
        path = folder / f"{name}.wav"
        if _sha256(path) != entry.get("sha256"):
            raise Misconfigured(what=f"{path} is missing or damaged: {hint}")
        with wave.open(str(path), "rb") as file:
            pcm, rate_hz = file.readframes(file.getnframes()), file.getframerate()
        clip = Clip(name, str(entry["phrase"]), pcm, rate_hz)
        found.setdefault(name.partition("_")[0], []).append(clip)
    return found


def trim_silence(samples: Samples, rate_hz: int) -> Samples:
    """Return the samples without surrounding silence, faded in and out. Pure."""
    loud = np.flatnonzero(np.abs(samples) > 10 ** (SILENCE_DBFS / 20))
    if not len(loud):
        return samples[:0]
    edge = int(FADE_S * rate_hz)
    trimmed = samples[max(0, loud[0] - edge) : loud[-1] + 1 + edge].copy()
    ramp = np.linspace(0, 1, min(edge, len(trimmed) // 2), dtype=np.float32)
    trimmed[: len(ramp)] *= ramp
    trimmed[len(trimmed) - len(ramp) :] *= ramp[::-1]
    return trimmed


def _key(phrase: str, identity: Mapping[str, Any]) -> str:
    recipe = json.dumps([RECIPE_VERSION, phrase, dict(identity)], sort_keys=True)
    return hashlib.sha256(recipe.encode()).hexdigest()


def _is_current(path: Path, entry: Mapping[str, str], key: str) -> bool:
    return entry.get("key") == key and _sha256(path) == entry.get("sha256")


def _read_manifest(folder: Path) -> dict[str, dict[str, str]]:
    try:
        files = json.loads((folder / MANIFEST).read_bytes())["files"]
        return {str(name): dict(entry) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # missing or unreadable: record everything again


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _write(path: Path, samples: Samples, rate_hz: int) -> None:
    pcm = (np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes()
    write_atomically(path, wav.encode(pcm, rate_hz))


@dataclass(frozen=True, slots=True)
class ModelState:
    """State of a model in GET /v1/vram."""

    ready: bool
    reload_ms: int
    users: int  # current leases

    @classmethod
    def from_ledger(cls, ledger: Mapping[str, Any]) -> dict[str, ModelState]:
        """Return by task the state of its first model, of a ready one if there is any."""
        found: dict[str, ModelState] = {}
        for model in ledger.get("models", ()):
            state = cls(model["state"] == "ready", int(model["reload_ms"]), len(model["leases"]))
            known = found.get(model["task"])
            if known is None or (state.ready and not known.ready):
                found[model["task"]] = state
        return found


class LatencyEstimator:
    """Recent durations by stage and intent; `budget_ms` is used until one was measured."""

    def __init__(self, budget_ms: Mapping[str, int]) -> None:
        self._budget_ms = budget_ms
        self._took_ms: dict[tuple[str, str], deque[float]] = defaultdict(
            lambda: deque(maxlen=MAX_SAMPLES)
        )

    def add_sample(self, stage: str, took_ms: float, intent: str = ANY_INTENT) -> None:
        for key in {(stage, intent), (stage, ANY_INTENT)}:
            self._took_ms[key].append(took_ms)

    def estimate_stage_ms(self, stage: str, intent: str = ANY_INTENT) -> float:
        for key in ((stage, intent), (stage, ANY_INTENT)):
            took_ms = self._took_ms.get(key)
            if took_ms:
                return compute_percentile(took_ms, PERCENTILE)
        return float(self._budget_ms.get(stage, 0))

    def estimate_rest_ms(
        self,
        stages: Iterable[tuple[str, str]],
        models: Mapping[str, ModelState],
        *,
        intent: str = ANY_INTENT,
    ) -> int:
        """Return the expected duration of the rest of a turn in ms.

        `stages` are pairs of stage and task of the required model ("" for none), in order. Adds the
        load time of a model that is not ready, and the queueing time of one that others use.
        """
        total = 0.0
        for stage, task in stages:
            duration_ms = self.estimate_stage_ms(stage, intent)
            state = models.get(task)
            if state and not state.ready:
                total += state.reload_ms
            elif state:
                total += duration_ms * state.users
            total += duration_ms
        return round(total)


def compute_percentile(values: Sequence[float] | deque[float], percent: int) -> float:
    """Return the nearest-rank percentile of `values`. Pure."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]
