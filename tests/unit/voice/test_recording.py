from __future__ import annotations

import os
import stat
import wave
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from barnabee.core.metrics import Metrics
from barnabee.core.schema import Recording
from barnabee.store.recordings import expire
from barnabee.voice.recording import MIB, RecordingMetrics, Recordings
from support.disk import SmallDisk

TRACE = "0af7651916cd43dd8448eb211c80319c"
NOW = datetime(2025, 1, 31, 23, 59, tzinfo=UTC)
PCM = b"\x01\x02" * 16_000


@dataclass
class House:
    folder: Path
    enabled: bool = True
    rooms: list[str] = field(default_factory=lambda: ["kitchen"])
    free_bytes: int = 100 * MIB
    metrics: Metrics = field(default_factory=lambda: Metrics("voice"))

    def recordings(self) -> Recordings:
        rules = Recording(enabled=self.enabled, rooms=self.rooms, free_min_mib=50)
        return Recordings(
            self.folder,
            rules,
            RecordingMetrics.register(self.metrics),
            clock=lambda: NOW,
            free_bytes=lambda _: self.free_bytes,
        )

    def failed(self, code: str) -> float | None:
        name = "barnabee_recordings_failed_total"
        return self.metrics.registry.get_sample_value(name, {"code": code})


def umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "recordings")


def test_an_utterance_in_a_room_that_allows_it_is_kept_for_its_owner_alone(house: House) -> None:
    path = house.recordings().keep(TRACE, "kitchen", PCM, 16_000)

    assert path == house.folder / "2025-01-31" / f"kitchen-{TRACE}.wav"
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert file.readframes(20_000) == PCM
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # The worker, which deletes it one day, is another user of the same group.
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o770 & ~umask()
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("changes", "room", "pcm"),
    [
        ({"enabled": False}, "kitchen", PCM),
        ({"rooms": []}, "kitchen", PCM),
        ({}, "bedroom", PCM),
        ({}, "kitchen", b""),
    ],
)
def test_nothing_is_kept_that_nobody_allowed(
    tmp_path: Path, changes: dict[str, bool], room: str, pcm: bytes
) -> None:
    house = House(tmp_path / "recordings", **changes)  # type: ignore[arg-type]

    assert house.recordings().keep(TRACE, room, pcm, 16_000) is None
    assert not house.folder.exists()


def test_the_database_s_disk_is_not_filled(house: House) -> None:
    house.free_bytes = 50 * MIB - 1

    assert house.recordings().keep(TRACE, "kitchen", PCM, 16_000) is None
    assert house.failed("disk_full") == 1
    assert list(house.folder.rglob("*.wav*")) == []


def test_a_folder_that_cannot_be_written_hurts_nobody(house: House) -> None:
    house.folder.parent.mkdir(exist_ok=True)
    house.folder.write_text("a file in its place")

    assert house.recordings().keep(TRACE, "kitchen", PCM, 16_000) is None
    assert house.failed("recording") == 1


@pytest.mark.parametrize(("trace_id", "rate_hz"), [("../../etc/passwd", 16_000), (TRACE, 0)])
def test_what_cannot_be_a_recording_hurts_nobody(house: House, trace_id: str, rate_hz: int) -> None:
    assert house.recordings().keep(trace_id, "kitchen", PCM, rate_hz) is None
    assert house.failed("recording") == 1


def test_a_link_in_its_place_is_not_followed(house: House, tmp_path: Path) -> None:
    target = tmp_path / "target"
    day = house.folder / "2025-01-31"
    day.mkdir(parents=True)
    (day / f"kitchen-{TRACE}.wav.part").symlink_to(target)

    house.recordings().keep(TRACE, "kitchen", PCM, 16_000)

    assert not target.exists()


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "disk", size_mib=1)
    disk.mount()
    try:
        house = House(disk.directory / "recordings")
        assert house.recordings().keep(TRACE, "kitchen", bytes(2 * MIB), 16_000) is None
        assert house.failed("recording") == 1
        assert list(house.folder.rglob("*.wav*")) == []
    finally:
        disk.unmount()


def test_what_was_kept_expires_also_when_recording_was_switched_off_since(house: House) -> None:
    path = house.recordings().keep(TRACE, "kitchen", PCM, 16_000)
    assert path is not None
    house.enabled = False

    assert expire(house.folder, NOW.replace(year=2026), 30).files == 1
    assert not path.exists()
