from __future__ import annotations

import math
import wave
from io import BytesIO
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.clients import probe
from barnabee.clients.probe import (
    ProbeQuestion,
    find_speech_problem,
    measure_level_dbfs,
    measure_word_error_rate,
)
from support.voice_path import ANSWER, RATE_HZ, VoicePath, make_tone


async def test_successful_probe_times_every_stage() -> None:
    path = VoicePath()
    result = await probe.run_probe(path.make_targets(), probe.load_question())

    assert result.success
    assert (result.heard, result.reply, result.intent) == (path.transcript, ANSWER["reply"], "time")
    assert (result.engine, result.speech_s, result.over_budget) == ("parakeet", 1.2, [])
    assert set(result.stages_ms) == {
        *("stt", "command", "intent", "tts_first_byte", "tts", "first_audio", "total")
    }


async def test_probe_is_not_recorded_and_has_one_trace() -> None:
    path = VoicePath()
    result = await probe.run_probe(path.make_targets(), probe.load_question())

    assert path.get_command() == {"utterance": path.transcript, "kept": False}
    for name in ("/v1/audio/transcriptions", "/v1/command", "/v1/audio/speech"):
        assert result.trace_id in path.get_request(name).headers["traceparent"]


@pytest.mark.parametrize(
    ("changes", "stage", "code"),
    [
        ({"transcript": ""}, "hear", "not_heard"),
        ({"transcript": "turn on the light"}, "hear", "misheard"),
        ({"answer": ANSWER | {"reply": " "}}, "command", "no_reply"),
        ({"answer": ANSWER | {"intent": "chat"}}, "command", "misunderstood"),
        ({"answer": ANSWER | {"code": "not_configured"}}, "command", "not_configured"),
        ({"answer": {"reply": "x"}}, "command", "dependency_down"),
        ({"speech": bytes(48_000)}, "speak", "speech_silent"),
        ({"speech": b""}, "speak", "speech_length"),
        ({"fails": {"/v1/audio/transcriptions": 503}}, "hear", "dependency_down"),
        ({"fails": {"/v1/command": httpx.ReadTimeout("x")}}, "command", "timed_out"),
        ({"fails": {"/v1/command": httpx.ConnectError("x")}}, "command", "dependency_down"),
        ({"fails": {"/v1/audio/speech": httpx.ReadError("cut")}}, "speak", "dependency_down"),
    ],
)
async def test_failure_has_stage_and_code(changes: dict[str, Any], stage: str, code: str) -> None:
    result = await probe.run_probe(VoicePath(**changes).make_targets(), probe.load_question())

    assert not result.success
    assert (result.stage, result.code) == (stage, code)
    assert result.message
    assert "total" in result.stages_ms


async def test_stage_over_its_budget_is_reported_without_failure() -> None:
    result = await probe.run_probe(
        VoicePath(budgets_ms={"stt": -1, "home": 1}).make_targets(), probe.load_question()
    )

    assert result.success
    assert result.over_budget == ["stt"]


async def test_custom_recording_is_compared_only_with_given_text() -> None:
    path = VoicePath(transcript="open the garage", answer=ANSWER | {"intent": "home_control"})

    assert (await probe.run_probe(path.make_targets(), ProbeQuestion(b"RIFF"))).success
    assert (
        await probe.run_probe(path.make_targets(), ProbeQuestion(b"RIFF", "open the garage door"))
    ).success
    assert (
        await probe.run_probe(path.make_targets(), ProbeQuestion(b"RIFF", "close the gate"))
    ).code == "misheard"


async def test_endless_response_times_out() -> None:
    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            while True:
                yield make_tone(0.001)
                await probe.asyncio.sleep(0)

    path = VoicePath()
    targets = path.make_targets()
    targets.gpu._pool.servers[0].http = httpx.AsyncClient(
        base_url="http://gpu",
        transport=httpx.MockTransport(
            lambda request: (
                httpx.Response(200, stream=Endless())
                if request.url.path == "/v1/audio/speech"
                else path._handle(request)
            )
        ),
    )
    result = await probe.run_probe(
        probe.ProbeTargets(
            targets.gpu, targets.api, targets.rate_hz, targets.budgets_ms, limit_s=0.5
        ),
        probe.load_question(),
    )
    assert (result.stage, result.code) == ("speak", "timed_out")


def test_packaged_recording_is_short_speech_at_16_khz() -> None:
    with wave.open(BytesIO(probe.load_question().wav)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert 1 < file.getnframes() / 16_000 < 2


TEXT = "It's five o'clock."


@pytest.mark.parametrize(
    ("heard", "text", "expected"),
    [
        ("What time is it?", "what time is it", 0.0),
        (" what TIME is it. ", "What time is it?", 0.0),
        ("what time is", "what time is it", 0.25),
        ("what dime is it", "what time is it", 0.25),
        ("so what time is it", "what time is it", 0.25),
        ("turn on the light", "what time is it", 1.0),
        ("", "what time is it", 1.0),
    ],
)
def test_word_error_rate_ignores_case_and_punctuation(
    heard: str, text: str, expected: float
) -> None:
    assert measure_word_error_rate(heard, text) == expected


@given(st.text(max_size=40), st.text(max_size=40))
def test_word_error_rate_is_zero_for_equal_texts(one: str, two: str) -> None:
    assert measure_word_error_rate(one, two) >= 0
    assert measure_word_error_rate(one, one) == 0


def test_level_is_that_of_the_tone() -> None:
    assert measure_level_dbfs(make_tone(0.5, level=0.5)) == pytest.approx(-9.2, abs=0.2)
    assert measure_level_dbfs(bytes(1000)) == -math.inf
    assert measure_level_dbfs(b"") == -math.inf


@pytest.mark.parametrize(
    ("pcm", "code"),
    [
        (make_tone(1.2), None),
        (b"", "speech_length"),
        (make_tone(0.1), "speech_length"),
        (bytes(RATE_HZ * 2 * 11), "speech_length"),
        (bytes(RATE_HZ * 2), "speech_silent"),
        (make_tone(1.2, level=0.0005), "speech_silent"),
    ],
)
def test_implausible_speech_has_a_code(pcm: bytes, code: str | None) -> None:
    problem = find_speech_problem(pcm, RATE_HZ, TEXT)

    assert (problem and problem[0]) == code
