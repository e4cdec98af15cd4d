"""Makes the recordings that are played without a speech engine, and reads them back.

At build or deployment time every phrase of `system.toml` is spoken once in the house's voice,
trimmed, brought to one loudness and written as `<category>_<i>.wav`; a manifest says what each was
made of. What is unchanged is not made again, and the same input gives the same bytes. Who speaks,
the caller decides: this knows no engine.
"""

from __future__ import annotations

import hashlib
import json
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnabee.core.errors import Misconfigured
from barnabee.core.schema import System
from barnabee.voice.fillers import Clip

Samples = NDArray[np.float32]  # (n,), mono, in [-1, 1]
MANIFEST = "manifest.json"
FORM = 1  # raise when the same words are to be made into another recording
SILENT_DBFS = -50.0  # the engine's own breath before and after a phrase lies below
EDGE_S = 0.02  # of what is silent, this much stays, faded, so that nothing clicks


@dataclass(frozen=True, slots=True)
class Maker:
    """Who speaks: a phrase in, its samples out; `identity` changes whenever the sound would."""

    speak: Callable[[str], Samples]
    identity: Mapping[str, Any]
    rate_hz: int


@dataclass(frozen=True, slots=True)
class Made:
    """What a run did."""

    spoken: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]


def phrases(system: System) -> dict[str, str]:
    """Return every phrase by the name of its file without the ending. Pure."""
    found: dict[str, str] = {}
    for category, words in system.filler.phrases().items():
        found |= {f"{category}_{number}": phrase for number, phrase in enumerate(words)}
    return found | {f"trouble_{name}": said for name, said in system.trouble.model_dump().items()}


def stale(system: System, identity: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the names of the recordings that are missing, damaged or made of something else."""
    known = _read_manifest(folder)
    return [
        name
        for name, phrase in phrases(system).items()
        if not _is_made(folder / f"{name}.wav", known.get(name, {}), _key(phrase, identity))
    ]


def generate(
    system: System, maker: Maker, folder: Path, report: Callable[[str], None] = lambda _name: None
) -> Made:
    """Bring `folder` up to date; `report` hears the name of each phrase as it is dealt with.

    A run that is cut short leaves whole files and the old manifest, and the next one goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known, entries = _read_manifest(folder), {}
    outdated = frozenset(stale(system, maker.identity, folder))
    for name, phrase in phrases(system).items():
        path = folder / f"{name}.wav"
        entries[name] = known.get(name, {})
        if name in outdated:
            _write(path, finish(maker.speak(phrase), maker.rate_hz), maker.rate_hz)
            key = _key(phrase, maker.identity)
            entries[name] = {"phrase": phrase, "key": key, "sha256": _sha256(path) or ""}
        report(name)
    removed = sorted(known.keys() - entries.keys())
    _replace(folder / MANIFEST, (json.dumps({"files": entries}, indent=1) + "\n").encode())
    for name in removed:
        (folder / f"{name}.wav").unlink(missing_ok=True)
    kept = tuple(name for name in entries if name not in outdated)
    return Made(tuple(name for name in entries if name in outdated), kept, tuple(removed))


def load(folder: Path) -> dict[str, list[Clip]]:
    """Return the recordings by category; Misconfigured names a folder or file that is not whole."""
    entries = _read_manifest(folder)
    if not entries:
        hint = "run `barnabee fillers generate`"
        raise Misconfigured(what=f"There are no recorded phrases in {folder}: {hint}")
    found: dict[str, list[Clip]] = {}
    for name, entry in entries.items():
        path = folder / f"{name}.wav"
        if _sha256(path) != entry.get("sha256"):
            hint = "run `barnabee fillers generate`"
            raise Misconfigured(what=f"{path} is missing or damaged: {hint}")
        with wave.open(str(path), "rb") as file:
            pcm, rate_hz = file.readframes(file.getnframes()), file.getframerate()
        clip = Clip(name, str(entry["phrase"]), pcm, rate_hz)
        found.setdefault(name.partition("_")[0], []).append(clip)
    return found


def finish(samples: Samples, rate_hz: int) -> Samples:
    """Return the phrase without the silence around it and with soft edges. Pure."""
    loud = np.flatnonzero(np.abs(samples) > 10 ** (SILENT_DBFS / 20))
    if not len(loud):
        return samples[:0]
    edge = int(EDGE_S * rate_hz)
    cut = samples[max(0, loud[0] - edge) : loud[-1] + 1 + edge].copy()
    ramp = np.linspace(0, 1, min(edge, len(cut) // 2), dtype=np.float32)
    cut[: len(ramp)] *= ramp
    cut[len(cut) - len(ramp) :] *= ramp[::-1]
    return cut


def _key(phrase: str, identity: Mapping[str, Any]) -> str:
    made_of = json.dumps([FORM, phrase, dict(identity)], sort_keys=True)
    return hashlib.sha256(made_of.encode()).hexdigest()


def _is_made(path: Path, entry: Mapping[str, str], key: str) -> bool:
    return entry.get("key") == key and _sha256(path) == entry.get("sha256")


def _read_manifest(folder: Path) -> dict[str, dict[str, str]]:
    try:
        files = json.loads((folder / MANIFEST).read_bytes())["files"]
        return {str(name): dict(entry) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # missing or not readable: all is made again


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _write(path: Path, samples: Samples, rate_hz: int) -> None:
    pcm = (np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes()
    scratch = path.with_suffix(".part")
    with scratch.open("wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    scratch.replace(path)


def _replace(path: Path, content: bytes) -> None:
    scratch = path.with_suffix(".part")
    scratch.write_bytes(content)
    scratch.replace(path)
