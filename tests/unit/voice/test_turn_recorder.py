"""Reports and recordings of finished turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from barnabee.api import request_bodies as accepted
from barnabee.clients.api import StageTiming, TurnReport
from barnabee.core import tracing
from barnabee.core.errors import BadRequest, BarnabeeError, DependencyDown
from barnabee.core.metrics import Metrics
from barnabee.core.schema import RecordingConfig
from barnabee.voice import turn_recorder
from barnabee.voice.turn import Turn
from barnabee.voice.turn_recorder import (
    RecordingMetrics,
    RecordingWriter,
    TurnRecorder,
    make_turn_report,
)
from support.wait import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
NOW = datetime(2025, 1, 31, 12, 0, 10, tzinfo=UTC)
WORDS = {"thinking_1": "Looking into that"}


def turn(**changes: object) -> Turn:
    """Return an answered turn that ended 4 s after the end of speech."""
    one = Turn(1, TRACE, "kitchen-1", clock=lambda: 104.0)
    one.marks = {
        "speech_end": 100.0,
        "turn_end": 100.25,
        "transcript": 101.0,
        "command_reply": 101.5,
    }
    one.marks |= {"reply_audio": 102.5, "first_audio": 100.4}
    one.utterance, one.engine = "what time is it", "whisper-base"
    one.log_fields = {"filler": "thinking_1", "degraded": ["redis"]}
    for name, value in changes.items():
        setattr(one, name, value)
    return one


def test_report_has_start_and_duration_of_each_stage() -> None:
    report = make_turn_report(turn(), "kitchen", NOW, WORDS)
    assert report.said_at == "2025-01-31T12:00:06.000Z"
    assert report.stages == {
        "vad": StageTiming(0.0, 250.0),
        "stt": StageTiming(250.0, 750.0),
        "command": StageTiming(1000.0, 500.0),
        "tts_first_byte": StageTiming(1500.0, 1000.0),
        "first_audio": StageTiming(0.0, 2500.0),
    }
    assert (report.engine, report.filler, report.degraded) == (
        "whisper-base",
        "Looking into that",
        ("redis",),
    )
    assert (report.interrupted, report.heard, report.code) == (False, None, None)


def test_report_of_an_interrupted_reply_has_the_played_text() -> None:
    report = make_turn_report(
        turn(outcome="interrupted", played_text="It is"), "kitchen", NOW, WORDS
    )
    assert (report.interrupted, report.heard) == (True, "It is")


@pytest.mark.parametrize("outcome", ["answered", "interrupted", "failed"])
def test_report_matches_the_schema_of_the_api(outcome: str) -> None:
    report = make_turn_report(turn(outcome=outcome, code="timed_out"), "kitchen", NOW, {})
    body = {name: getattr(report, name) for name in accepted.TurnTimingsRequest.model_fields}
    body |= {
        "stages": {
            name: {"at_ms": s.at_ms, "took_ms": s.took_ms} for name, s in report.stages.items()
        },
        "degraded": list(report.degraded),
    }
    accepted.TurnTimingsRequest.model_validate(body)


@dataclass
class FakeApi:
    """Fake api that raises `errors` first."""

    errors: list[BarnabeeError] = field(default_factory=list)
    reports: list[TurnReport] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    requests: int = 0

    async def report(self, report: TurnReport) -> None:
        self.requests += 1
        self.traces.append(tracing.get_trace_id())
        if self.errors:
            raise self.errors.pop(0)
        self.reports.append(report)


def make_recorder(api: FakeApi, folder: Path, *rooms: str) -> TurnRecorder:
    rules = RecordingConfig(enabled=bool(rooms), rooms=list(rooms), free_min_mib=1)
    metrics = RecordingMetrics.register(Metrics("voice"))
    return TurnRecorder(api.report, RecordingWriter(folder, rules, metrics), WORDS)


async def test_turn_is_reported_once_with_its_own_trace_id(tmp_path: Path) -> None:
    api = FakeApi()
    recorder = make_recorder(api, tmp_path)
    recorder.record(turn(), "kitchen")
    await recorder.aclose()
    assert [report.trace_id for report in api.reports] == [TRACE]
    assert api.traces == [TRACE]


async def test_turn_that_never_reached_the_api_is_not_reported(tmp_path: Path) -> None:
    api = FakeApi()
    recorder = make_recorder(api, tmp_path)
    recorder.record(turn(marks={"speech_end": 100.0, "turn_end": 100.25}), "kitchen")
    await recorder.aclose()
    assert api.requests == 0


async def test_report_is_retried_while_the_api_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_recorder, "RETRY_DELAYS_S", (0.0, 0.01, 0.01))
    down = DependencyDown(dependency="api", reason="down")
    api = FakeApi([down, down])
    recorder = make_recorder(api, tmp_path)
    recorder.record(turn(), "kitchen")
    await wait_until(lambda: len(api.reports) == 1)
    assert api.requests == 3


async def test_rejected_report_is_not_retried(tmp_path: Path) -> None:
    api = FakeApi([BadRequest(field="field `room`", reason="no")])
    recorder = make_recorder(api, tmp_path)
    recorder.record(turn(), "kitchen")
    await wait_until(lambda: api.requests == 1)
    await recorder.aclose()
    assert api.requests == 1


async def test_close_does_not_wait_for_a_retry(tmp_path: Path) -> None:
    api = FakeApi([DependencyDown(dependency="api", reason="down")] * 9)
    recorder = make_recorder(api, tmp_path)
    recorder.record(turn(), "kitchen")
    await wait_until(lambda: api.requests == 1)
    await recorder.aclose()  # the retry would follow 2 s later
    assert api.requests == 1
    assert not recorder._tasks


async def test_audio_is_stored_for_enabled_rooms_with_a_transcript(
    tmp_path: Path,
) -> None:
    recorder = make_recorder(FakeApi(), tmp_path, "kitchen")
    recorder.record(turn(audio=b"\1\2" * 800), "kitchen")
    recorder.record(turn(audio=b"\1\2" * 800), "bath")
    recorder.record(turn(audio=b"\1\2" * 800, utterance="", trace_id="f" * 32), "kitchen")
    await recorder.aclose()
    (path,) = tmp_path.rglob("*.wav")
    assert "kitchen" in path.name
    assert TRACE in path.name
