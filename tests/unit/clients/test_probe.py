from __future__ import annotations

import wave
from io import BytesIO
from typing import Any

import httpx
import pytest

from barnabee.clients import probe
from barnabee.clients.probe import Question
from support.voice_path import ANSWER, VoicePath, tone


async def test_all_well_is_a_success_with_every_stage_timed() -> None:
    path = VoicePath()
    result = await probe.run(path.way(), probe.question())

    assert result.success
    assert (result.heard, result.reply, result.intent) == (path.heard, ANSWER["reply"], "time")
    assert (result.engine, result.speech_s, result.over_budget) == ("parakeet", 1.2, [])
    assert set(result.stages_ms) == {
        *("stt", "command", "intent", "tts_first_byte", "tts", "first_audio", "total")
    }


async def test_the_question_is_not_kept_and_one_trace_runs_through_all() -> None:
    path = VoicePath()
    result = await probe.run(path.way(), probe.question())

    assert path.said() == {"utterance": path.heard, "kept": False}
    for name in ("/v1/audio/transcriptions", "/v1/command", "/v1/audio/speech"):
        assert result.trace_id in path.of(name).headers["traceparent"]


@pytest.mark.parametrize(
    ("changes", "stage", "code"),
    [
        ({"heard": ""}, "hear", "not_heard"),
        ({"heard": "turn on the light"}, "hear", "misheard"),
        ({"answer": ANSWER | {"reply": " "}}, "command", "no_reply"),
        ({"answer": ANSWER | {"intent": "chat"}}, "command", "misunderstood"),
        ({"answer": ANSWER | {"code": "not_configured"}}, "command", "not_configured"),
        ({"answer": {"reply": "x"}}, "command", "dependency_down"),
        ({"sound": bytes(48_000)}, "speak", "speech_silent"),
        ({"sound": b""}, "speak", "speech_length"),
        ({"fails": {"/v1/audio/transcriptions": 503}}, "hear", "dependency_down"),
        ({"fails": {"/v1/command": httpx.ReadTimeout("x")}}, "command", "timed_out"),
        ({"fails": {"/v1/command": httpx.ConnectError("x")}}, "command", "dependency_down"),
        ({"fails": {"/v1/audio/speech": httpx.ReadError("cut")}}, "speak", "dependency_down"),
    ],
)
async def test_what_fails_is_named_by_stage_and_code(
    changes: dict[str, Any], stage: str, code: str
) -> None:
    result = await probe.run(VoicePath(**changes).way(), probe.question())

    assert not result.success
    assert (result.stage, result.code) == (stage, code)
    assert result.message
    assert "total" in result.stages_ms


async def test_a_stage_over_its_budget_is_told_and_no_failure() -> None:
    result = await probe.run(VoicePath(budgets_ms={"stt": -1, "home": 1}).way(), probe.question())

    assert result.success
    assert result.over_budget == ["stt"]


async def test_a_recording_of_somebody_s_own_is_compared_only_with_what_was_given() -> None:
    path = VoicePath(heard="open the garage", answer=ANSWER | {"intent": "home_control"})

    assert (await probe.run(path.way(), Question(b"RIFF"))).success
    assert (await probe.run(path.way(), Question(b"RIFF", "open the garage door"))).success
    assert (await probe.run(path.way(), Question(b"RIFF", "close the gate"))).code == "misheard"


async def test_an_answer_that_never_ends_is_given_up() -> None:
    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            while True:
                yield tone(0.001)
                await probe.asyncio.sleep(0)

    path = VoicePath()
    way = path.way()
    way.gpu._servers.every[0].http = httpx.AsyncClient(
        base_url="http://gpu",
        transport=httpx.MockTransport(
            lambda request: (
                httpx.Response(200, stream=Endless())
                if request.url.path == "/v1/audio/speech"
                else path._handle(request)
            )
        ),
    )
    result = await probe.run(
        probe.Way(way.gpu, way.api, way.rate_hz, way.budgets_ms, limit_s=0.1), probe.question()
    )
    assert (result.stage, result.code) == ("speak", "timed_out")


def test_the_recording_that_comes_along_is_short_speech_at_16_khz() -> None:
    with wave.open(BytesIO(probe.question().wav)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert 1 < file.getnframes() / 16_000 < 2
