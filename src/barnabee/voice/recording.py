"""Keeps what was said as sound, where the house allows it: `[recording]` of system.toml.

Off unless switched on, and then in the rooms that are named. Never in the way of a turn: whatever
goes wrong is counted and told in the log. The worker deletes what is too old.
"""

from __future__ import annotations

import io
import os
import shutil
import wave
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter

from barnabee.store.recordings import UNFINISHED, path_of

if TYPE_CHECKING:
    from barnabee.core.metrics import Metrics
    from barnabee.core.schema import Recording

MIB = 1024 * 1024
SAMPLE_BYTES = 2

log = structlog.get_logger()


@dataclass(frozen=True)
class RecordingMetrics:
    """Series about recordings."""

    kept: Counter
    failed: Counter

    @classmethod
    def register(cls, metrics: Metrics) -> RecordingMetrics:
        """Create the series in `metrics`."""
        registry = metrics.registry
        return cls(
            Counter(
                "barnabee_recordings_kept",
                "Utterances kept as sound.",
                ("room",),
                registry=registry,
            ),
            Counter(
                "barnabee_recordings_failed",
                "Utterances that should have been kept and were not.",
                ("code",),
                registry=registry,
            ),
        )


class Recordings:
    """Writes recordings."""

    def __init__(
        self,
        folder: Path,
        rules: Recording,
        metrics: RecordingMetrics,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        """Write below `folder` (`store.recordings.FOLDER` of the data directory)."""
        self._folder = folder
        self._rules = rules
        self._metrics = metrics
        self._clock = clock
        self._free_bytes = free_bytes

    def wanted(self, room: str) -> bool:
        """Return whether what is said in `room` is kept: ask before collecting sound."""
        return self._rules.enabled and room in self._rules.rooms

    def keep(self, trace_id: str, room: str, pcm: bytes, rate_hz: int) -> Path | None:
        """Keep an utterance (16 bit, mono); return where, None when it is not kept.

        Blocks for as long as the disk takes, so call it in a thread. Never raises.
        """
        if not self.wanted(room) or not pcm:
            return None
        try:
            path = path_of(self._folder, self._clock().astimezone(UTC).date(), room, trace_id)
            path.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
            if self._free_bytes(self._folder) < self._rules.free_min_mib * MIB:
                self._failed("disk_full", f"less than {self._rules.free_min_mib} MiB are free")
                return None
            _write(path, _wav(pcm, rate_hz))
        except (OSError, ValueError, wave.Error) as error:
            self._failed("recording", str(error))
            return None
        self._metrics.kept.labels(room).inc()
        return path

    def _failed(self, code: str, reason: str) -> None:
        self._metrics.failed.labels(code).inc()
        log.warning("not_recorded", code=code, reason=reason)


def _wav(pcm: bytes, rate_hz: int) -> bytes:
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return sound.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, and that is there as a whole or not at all."""
    scratch = path.with_name(path.name + UNFINISHED)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(scratch, flags, 0o600), "wb") as file:
            file.write(content)
        scratch.replace(path)
    except OSError:
        with suppress(OSError):
            scratch.unlink()
        raise
