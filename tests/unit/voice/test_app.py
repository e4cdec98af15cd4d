from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from loguru import logger
from structlog.testing import capture_logs

from barnabee.core import system
from barnabee.core.health import Degraded
from barnabee.core.settings import Settings
from barnabee.voice import filler_files, health, logs
from barnabee.voice.app import Phrases, budget_ms

GRAPH = system.load(Path(__file__).resolve().parents[3] / "system.toml")


def record(folder: Path, rate_hz: int) -> None:
    def tone(_phrase: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return np.full(2400, 0.3, np.float32)

    filler_files.generate(GRAPH, filler_files.Maker(tone, {}, rate_hz), folder)


def test_recordings_are_looked_for_where_they_are_said_to_be(tmp_path: Path) -> None:
    record(tmp_path / "elsewhere", 24_000)
    settings = Settings.model_validate({"BARNABEE_FILLERS": str(tmp_path / "elsewhere")})
    found = Phrases.of(settings, 24_000)
    assert found.missing is None
    assert len(found.clips["acknowledgment"]) == len(GRAPH.filler.acknowledgment)


async def test_without_recordings_it_is_degraded_and_says_how_to_mend_it(tmp_path: Path) -> None:
    found = Phrases.of(Settings.model_validate({"BARNABEE_DATA": str(tmp_path)}), 24_000)
    assert not found.clips
    answer = await health.recorded(found.folder, found.missing)()
    assert isinstance(answer, Degraded)
    assert "barnabee fillers generate" in answer.message


def test_recordings_of_another_rate_are_not_played(tmp_path: Path) -> None:
    record(tmp_path / "fillers", 22_050)
    found = Phrases.of(Settings.model_validate({"BARNABEE_DATA": str(tmp_path)}), 24_000)
    assert not found.clips
    assert "24000 Hz" in str(found.missing)


def test_the_estimate_believes_the_budgets_of_the_system_file() -> None:
    stage = GRAPH.stage
    assert budget_ms(GRAPH) == {
        "stt": stage.stt_ms,
        "command": stage.intent_ms + stage.home_ms,
        "tts": stage.tts_first_byte_ms,
    }


@pytest.mark.parametrize(
    ("message", "said"),
    [("something is odd", True), ("No video transceiver is available", False)],
)
def test_what_pipecat_warns_of_becomes_a_line_of_ours(message: str, said: bool) -> None:
    logs.adopt()
    with capture_logs() as lines:
        logger.debug("details")
        logger.warning(message)
    assert [line["event"] for line in lines] == ([message] if said else [])
    assert all(line["stage"] == "pipecat" for line in lines)
    assert logging.getLevelName(logging.WARNING) == logs.LEVEL
