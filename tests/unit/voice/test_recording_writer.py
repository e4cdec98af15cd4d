"""Storage of utterances as WAV files."""

from __future__ import annotations

import os
import stat
import wave
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from barnabee.core.metrics import Metrics
from barnabee.core.schema import RecordingConfig
from barnabee.store.recordings import expire_recordings
from barnabee.voice.turn_recorder import MIB, RecordingMetrics, RecordingWriter
from support.disk import SmallDisk

TRACE = "0af7651916cd43dd8448eb211c80319c"
NOW = datetime(2025, 1, 31, 23, 59, tzinfo=UTC)
PCM = b"\x01\x02" * 16_000


@dataclass
class Setup:
    folder: Path
    enabled: bool = True
    rooms: list[str] = field(default_factory=lambda: ["kitchen"])
    free_bytes: int = 100 * MIB
    metrics: Metrics = field(default_factory=lambda: Metrics("voice"))

    def make_writer(self) -> RecordingWriter:
        rules = RecordingConfig(enabled=self.enabled, rooms=self.rooms, free_min_mib=50)
        return RecordingWriter(
            self.folder,
            rules,
            RecordingMetrics.register(self.metrics),
            clock=lambda: NOW,
            free_bytes=lambda _: self.free_bytes,
        )

    def count_failures(self, code: str) -> float | None:
        name = "barnabee_recordings_failed_total"
        return self.metrics.registry.get_sample_value(name, {"code": code})


def umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path / "recordings")


def test_utterance_is_stored_readable_by_its_owner_only(setup: Setup) -> None:
    path = setup.make_writer().store(TRACE, "kitchen", PCM, 16_000)

    assert path == setup.folder / "2025-01-31" / f"kitchen-{TRACE}.wav"
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert file.readframes(20_000) == PCM
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # The worker, which deletes recordings, is another user of the same group.
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o770 & ~umask()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("changes", "room", "pcm"),
    [
        ({"enabled": False}, "kitchen", PCM),
        ({"rooms": []}, "kitchen", PCM),
        ({}, "bedroom", PCM),
        ({}, "kitchen", b""),
    ],
)
def test_nothing_is_stored_unless_enabled_for_the_room(
    tmp_path: Path, changes: dict[str, bool], room: str, pcm: bytes
) -> None:
    setup = Setup(tmp_path / "recordings", **changes)  # type: ignore[arg-type]

    assert setup.make_writer().store(TRACE, room, pcm, 16_000) is None
    assert not setup.folder.exists()


def test_nothing_is_stored_when_the_disk_is_nearly_full(setup: Setup) -> None:
    setup.free_bytes = 50 * MIB - 1

    assert setup.make_writer().store(TRACE, "kitchen", PCM, 16_000) is None
    assert setup.count_failures("disk_full") == 1
    assert list(setup.folder.rglob("*.wav*")) == []


def test_unwritable_folder_is_counted_and_not_raised(setup: Setup) -> None:
    setup.folder.parent.mkdir(exist_ok=True)
    setup.folder.write_text("a file")

    assert setup.make_writer().store(TRACE, "kitchen", PCM, 16_000) is None
    assert setup.count_failures("recording") == 1


@pytest.mark.parametrize(("trace_id", "rate_hz"), [("../../etc/passwd", 16_000), (TRACE, 0)])
def test_invalid_recording_is_counted_and_not_raised(
    setup: Setup, trace_id: str, rate_hz: int
) -> None:
    assert setup.make_writer().store(trace_id, "kitchen", PCM, rate_hz) is None
    assert setup.count_failures("recording") == 1


def test_symbolic_link_at_the_partial_file_is_not_followed(setup: Setup, tmp_path: Path) -> None:
    target = tmp_path / "target"
    day = setup.folder / "2025-01-31"
    day.mkdir(parents=True)
    (day / f"kitchen-{TRACE}.wav.part").symlink_to(target)

    setup.make_writer().store(TRACE, "kitchen", PCM, 16_000)

    assert not target.exists()


def test_full_disk_leaves_no_partial_file(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "disk", size_mib=1)
    disk.mount()
    try:
        setup = Setup(disk.directory / "recordings")
        assert setup.make_writer().store(TRACE, "kitchen", bytes(2 * MIB), 16_000) is None
        assert setup.count_failures("recording") == 1
        assert list(setup.folder.rglob("*.wav*")) == []
    finally:
        disk.unmount()


def test_recordings_expire_after_recording_was_disabled(setup: Setup) -> None:
    path = setup.make_writer().store(TRACE, "kitchen", PCM, 16_000)
    assert path is not None
    setup.enabled = False

    assert expire_recordings(setup.folder, NOW.replace(year=2026), 30).deleted_files == 1
    assert not path.exists()
