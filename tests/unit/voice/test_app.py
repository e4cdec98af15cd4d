"""Recorded phrases, stage budgets and Pipecat's log lines."""

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
from barnabee.voice import app, fillers
from barnabee.voice.app import (
    PIPECAT_LOG_LEVEL,
    RecordedPhrases,
    get_stage_budgets_ms,
    redirect_pipecat_logs,
)

GRAPH = system.load_system(Path(__file__).resolve().parents[3] / "system.toml")


def record(folder: Path, rate_hz: int) -> None:
    def tone(_phrase: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return np.full(2400, 0.3, np.float32)

    fillers.generate_recordings(GRAPH, fillers.PhraseSynthesizer(tone, {}, rate_hz), folder)


def test_recordings_are_loaded_from_the_configured_folder(tmp_path: Path) -> None:
    record(tmp_path / "elsewhere", 24_000)
    settings = Settings.model_validate({"BARNABEE_FILLERS": str(tmp_path / "elsewhere")})
    phrases = RecordedPhrases.load(settings, 24_000)
    assert phrases.problem is None
    assert len(phrases.clips["acknowledgment"]) == len(GRAPH.filler.acknowledgment)


async def test_missing_recordings_degrade_health_and_name_the_command(tmp_path: Path) -> None:
    phrases = RecordedPhrases.load(
        Settings.model_validate({"BARNABEE_DATA": str(tmp_path)}), 24_000
    )
    assert not phrases.clips
    answer = await app.make_recordings_probe(phrases.folder, phrases.problem)()
    assert isinstance(answer, Degraded)
    assert "barnabee fillers generate" in answer.message


def test_recordings_of_another_sample_rate_are_not_used(tmp_path: Path) -> None:
    record(tmp_path / "fillers", 22_050)
    phrases = RecordedPhrases.load(
        Settings.model_validate({"BARNABEE_DATA": str(tmp_path)}), 24_000
    )
    assert not phrases.clips
    assert "24000 Hz" in str(phrases.problem)


def test_stage_budgets_come_from_the_system_file() -> None:
    stage = GRAPH.stage
    assert get_stage_budgets_ms(GRAPH) == {
        "stt": stage.stt_ms,
        "command": stage.intent_ms + stage.home_ms,
        "tts": stage.tts_first_byte_ms,
    }


@pytest.mark.parametrize(
    ("message", "logged"),
    [("something is wrong", True), ("No video transceiver is available", False)],
)
def test_pipecat_warnings_are_logged_unless_expected(message: str, logged: bool) -> None:
    redirect_pipecat_logs()
    with capture_logs() as lines:
        logger.debug("details")
        logger.warning(message)
    assert [line["event"] for line in lines] == ([message] if logged else [])
    assert all(line["stage"] == "pipecat" for line in lines)
    assert logging.getLevelName(logging.WARNING) == PIPECAT_LOG_LEVEL
