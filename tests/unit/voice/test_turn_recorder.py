"""What is kept of a turn when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from barnabee.api import turn_timings as accepted
from barnabee.clients.turn_report import Spoken, Stage
from barnabee.core import trace_context
from barnabee.core.errors import BadRequest, BarnabeeError, DependencyDown
from barnabee.core.metrics import Metrics
from barnabee.core.schema import Recording
from barnabee.voice import turn_recorder
from barnabee.voice.recording import RecordingMetrics, Recordings
from barnabee.voice.turn import Turn
from barnabee.voice.turn_recorder import Keeping, spoken
from support.wait import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
NOW = datetime(2025, 1, 31, 12, 0, 10, tzinfo=UTC)
WORDS = {"thinking_1": "Looking into that"}


def turn(**changes: object) -> Turn:
    """Return a turn that was answered; it ended 4 s after the person stopped speaking."""
    one = Turn(1, TRACE, "kitchen-1", clock=lambda: 104.0)
    one.marks = {"silent": 100.0, "ended": 100.25, "heard": 101.0, "answered": 101.5}
    one.marks |= {"voiced": 102.5, "sounded": 100.4}
    one.utterance, one.engine = "what time is it", "whisper-base"
    one.told = {"filler": "thinking_1", "degraded": ["redis"]}
    for name, value in changes.items():
        setattr(one, name, value)
    return one


def test_the_record_is_told_when_each_stage_began_and_how_long_it_took() -> None:
    said = spoken(turn(), "kitchen", NOW, WORDS)
    assert said.said_at == "2025-01-31T12:00:06.000Z"
    assert said.stages == {
        "vad": Stage(0.0, 250.0),
        "stt": Stage(250.0, 750.0),
        "command": Stage(1000.0, 500.0),
        "tts_first_byte": Stage(1500.0, 1000.0),
        "first_audio": Stage(0.0, 2500.0),
    }
    assert (said.engine, said.filler, said.degraded) == (
        "whisper-base",
        "Looking into that",
        ("redis",),
    )
    assert (said.interrupted, said.heard, said.code) == (False, None, None)


def test_how_far_an_interrupted_reply_was_heard_is_told() -> None:
    said = spoken(turn(outcome="interrupted", heard_up_to="It is"), "kitchen", NOW, WORDS)
    assert (said.interrupted, said.heard) == (True, "It is")


@pytest.mark.parametrize("outcome", ["answered", "interrupted", "failed"])
def test_the_api_accepts_what_it_is_told(outcome: str) -> None:
    said = spoken(turn(outcome=outcome, code="timed_out"), "kitchen", NOW, {})
    body = {name: getattr(said, name) for name in accepted.SpokenTurn.model_fields}
    body |= {
        "stages": {
            name: {"at_ms": s.at_ms, "took_ms": s.took_ms} for name, s in said.stages.items()
        },
        "degraded": list(said.degraded),
    }
    accepted.SpokenTurn.model_validate(body)


@dataclass
class Record:
    """The api: fails with `troubles` first."""

    troubles: list[BarnabeeError] = field(default_factory=list)
    told: list[Spoken] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    asked: int = 0

    async def report(self, said: Spoken) -> None:
        self.asked += 1
        self.traces.append(trace_context.current())
        if self.troubles:
            raise self.troubles.pop(0)
        self.told.append(said)


def keeper(record: Record, folder: Path, *rooms: str) -> Keeping:
    rules = Recording(enabled=bool(rooms), rooms=list(rooms), free_min_mib=1)
    metrics = RecordingMetrics.register(Metrics("voice"))
    return Keeping(record.report, Recordings(folder, rules, metrics), WORDS)


async def test_a_turn_is_told_once_under_its_own_trace_id(tmp_path: Path) -> None:
    record = Record()
    one = keeper(record, tmp_path)
    one.over(turn(), "kitchen")
    await one.aclose()
    assert [said.trace_id for said in record.told] == [TRACE]
    assert record.traces == [TRACE]


async def test_a_turn_that_never_reached_the_api_is_not_told(tmp_path: Path) -> None:
    record = Record()
    one = keeper(record, tmp_path)
    one.over(turn(marks={"silent": 100.0, "ended": 100.25}), "kitchen")
    await one.aclose()
    assert record.asked == 0


async def test_an_api_that_is_gone_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_recorder, "TRY_AFTER_S", (0.0, 0.01, 0.01))
    down = DependencyDown(dependency="api", reason="gone")
    record = Record([down, down])
    one = keeper(record, tmp_path)
    one.over(turn(), "kitchen")
    await until(lambda: len(record.told) == 1)
    assert record.asked == 3


async def test_what_the_api_will_not_have_is_not_told_again(tmp_path: Path) -> None:
    record = Record([BadRequest(field="field `room`", reason="no")])
    one = keeper(record, tmp_path)
    one.over(turn(), "kitchen")
    await until(lambda: record.asked == 1)
    await one.aclose()
    assert record.asked == 1


async def test_the_end_does_not_wait_for_another_try(tmp_path: Path) -> None:
    record = Record([DependencyDown(dependency="api", reason="gone")] * 9)
    one = keeper(record, tmp_path)
    one.over(turn(), "kitchen")
    await until(lambda: record.asked == 1)
    await one.aclose()  # the next try would be 2 s later
    assert record.asked == 1
    assert not one._tasks


async def test_sound_is_kept_where_the_room_allows_it_and_words_were_understood(
    tmp_path: Path,
) -> None:
    one = keeper(Record(), tmp_path, "kitchen")
    one.over(turn(sound=b"\1\2" * 800), "kitchen")
    one.over(turn(sound=b"\1\2" * 800), "bath")
    one.over(turn(sound=b"\1\2" * 800, utterance="", trace_id="f" * 32), "kitchen")
    await one.aclose()
    (kept,) = tmp_path.rglob("*.wav")
    assert "kitchen" in kept.name
    assert TRACE in kept.name
