"""Voice service end to end over WebSocket: real VAD and pipeline, fake engines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse
from websockets.exceptions import ConnectionClosed, InvalidStatus

from barnabee.voice.transports import websocket
from barnabee.voice.vad import VoiceActivityDetector
from support.voice import TOKEN, load_recording, make_silence
from support.voice_stack import MAX_AHEAD_S, VoiceStack, open_woken_microphone, run_voice_stack
from support.wait import wait_until

LIGHT = load_recording("kitchen_light_af_heart")


@pytest.fixture
async def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VoiceStack]:
    monkeypatch.setattr(websocket, "MAX_AHEAD_S", MAX_AHEAD_S)
    async with run_voice_stack(tmp_path) as running:
        yield running


async def test_sentence_is_transcribed_executed_and_answered(stack: VoiceStack) -> None:
    async with open_woken_microphone(stack) as microphone:
        wake = microphone.get_messages("wake")[0]
        await microphone.send_audio(LIGHT, make_silence(2.5))
        await microphone.wait_for_state("follow_up")
        states = [message["state"] for message in microphone.get_messages("state")]
        assert states == ["asleep", "listening", "hearing", "thinking", "speaking", "follow_up"]
        assert microphone.get_messages("transcript")[0]["text"] == "turn on the kitchen light"
        assert microphone.get_messages("reply")[0]["text"] == "The kitchen light is on."
        assert stack.synthesizer.spoken == ["The kitchen light is on."]
        assert stack.api.commands[0]["utterance"] == "turn on the kitchen light"
        assert stack.api.traces == [wake["trace_id"]]
        spoken_s = len("The kitchen light is on.") * 0.01
        chime_s = 0.16
        assert len(microphone.received) / 48_000 == pytest.approx(spoken_s + chime_s, abs=0.08)
        assert not microphone.get_messages("error")
    assert stack.voice.metric("barnabee_turns_total", outcome="answered", code="") == 1
    await wait_until(lambda: bool(stack.api.reports))
    report = stack.api.reports[wake["trace_id"]]
    assert (report["room"], report["interrupted"]) == ("kitchen", False)
    stages = {"wake", "vad", "stt", "command", "tts_first_byte", "first_audio"}
    assert set(report["stages"]) == stages
    assert not list(stack.data.rglob("*.wav")), "recording is disabled"


async def test_command_in_one_breath_with_the_wake_word_is_complete(stack: VoiceStack) -> None:
    async with stack.voice.talk() as microphone:
        frames = stack.wake.frame_count
        await microphone.send_audio(make_silence(0.08))
        await microphone.wait_until(lambda: stack.wake.frame_count > frames)
        # In real time: while asleep only the last seconds are buffered.
        await microphone.send_in_real_time(
            stack.wake.make_frame("hey_jarvis"), LIGHT, make_silence(1.0)
        )
        await microphone.wait_for_state("follow_up")
        loud = np.flatnonzero(np.abs(LIGHT) > 300)
        assert stack.transcriber.transcribed[-1][0] >= (loud[-1] - loud[0]) / 16_000


async def test_nothing_is_transcribed_while_asleep(stack: VoiceStack) -> None:
    async with stack.voice.talk() as microphone:
        frames = stack.wake.frame_count
        await microphone.send_audio(LIGHT, make_silence(1.5))
        await microphone.wait_until(lambda: stack.wake.frame_count >= frames + 12)
        assert microphone.state == "asleep"
        assert not stack.transcriber.transcribed


async def test_button_needs_no_wake_word_and_ignores_pauses(stack: VoiceStack) -> None:
    async with stack.voice.talk() as microphone:
        await microphone.send_message(type="talk", on=True)
        await microphone.wait_for_state("listening")
        await microphone.send_in_real_time(LIGHT, make_silence(0.5), LIGHT)
        await microphone.send_message(type="talk", on=False)
        await microphone.wait_for_state("follow_up")
        assert len(stack.api.commands) == 1
        assert stack.transcriber.transcribed[-1][0] > 2 * len(LIGHT) / 16_000


async def test_follow_up_needs_no_wake_word(stack: VoiceStack) -> None:
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_for_state("follow_up")
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_until(lambda: len(stack.api.commands) == 2)
        sessions = {command["session_id"] for command in stack.api.commands}
        assert len(sessions) == 1
        assert len(set(stack.api.traces)) == 2


async def test_false_wake_report_is_counted(stack: VoiceStack) -> None:
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_message(type="false_wake")
        await microphone.wait_for_state("asleep")
        await wait_until(lambda: stack.count_false_wakes() == 1)


async def test_barge_in_stops_the_reply_and_reports_the_played_text(stack: VoiceStack) -> None:
    stack.api.reply = "One, two, three, four, five, six. " * 12
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_for_state("speaking")
        before = len(microphone.received)
        await microphone.wait_until(lambda: len(microphone.received) > before + 24_000)
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_until(lambda: bool(microphone.get_messages("heard")))
        played = microphone.get_messages("heard")[0]["text"]
        assert stack.api.reply.startswith(played)
        assert 0 < len(played) < len(stack.api.reply) / 2
        await microphone.wait_until(lambda: bool(microphone.get_messages("stop")))
        await microphone.wait_until(lambda: len(stack.api.commands) == 2)
    assert stack.voice.metric("barnabee_barge_ins_total") == 1
    assert stack.voice.metric("barnabee_turns_total", outcome="interrupted", code="") == 1


async def test_api_failure_is_reported_and_recovers(stack: VoiceStack) -> None:
    stack.api.refuse = lambda: JSONResponse({"code": "internal", "message": "no"}, 500)
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_until(lambda: bool(microphone.get_messages("error")))
        assert microphone.get_messages("error")[0]["code"] == "dependency_down"
        await microphone.wait_for_state("follow_up")
        stack.api.refuse = None
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_until(lambda: bool(microphone.get_messages("reply")))


# ---- faults ----


async def test_stage_error_closes_its_room_only_and_is_reported(
    stack: VoiceStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stack.voice.talk("attic") as other, stack.voice.talk("kitchen") as microphone:

        def broken(*_: object, **__: object) -> None:
            msg = "broken"
            raise RuntimeError(msg)

        await microphone.send_message(type="talk", on=True)
        await microphone.wait_for_state("listening")
        with monkeypatch.context() as patch:
            patch.setattr(VoiceActivityDetector, "process_window", broken)
            await microphone.send_audio(make_silence(0.2))
            await microphone.wait_until(lambda: microphone.close_code is not None)
        assert (microphone.close_code, microphone.get_messages("error")[0]["code"]) == (
            1001,
            "internal",
        )
        await other.send_message(type="talk", on=True)
        await other.wait_for_state("listening")
        labels = {"component": "voice", "code": "internal"}  # counted at the end of the request
        await wait_until(lambda: stack.voice.metric("barnabee_errors_total", **labels) == 1)


frames = st.one_of(
    st.binary(max_size=3000),
    st.text(max_size=50),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ).map(json.dumps),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["talk", "stop", "false_wake", "say"])},
        optional={"on": st.booleans() | st.text(max_size=3) | st.none()},
    ).map(json.dumps),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(frames, min_size=1, max_size=6))
async def test_service_survives_arbitrary_messages(
    stack: VoiceStack, sent: list[str | bytes]
) -> None:
    async with stack.voice.talk("fuzz") as microphone:
        with suppress(ConnectionClosed):
            for frame in sent:
                await microphone.socket.send(frame)
    assert microphone.close_code in {1000, 1003, 1008, 1009}
    async with httpx.AsyncClient(base_url=stack.voice.url) as client:
        assert (await client.get("/health/ready")).status_code == 200
    assert stack.voice.metric("barnabee_errors_total", component="voice", code="internal") == 0


# ---- access and limits ----


async def test_connection_without_the_token_is_refused(stack: VoiceStack) -> None:
    status, body = await get_refusal(stack, token="wrong")
    assert (status, body["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("room", ["Kitchen!", "x" * 40, "9", "kitchen%0A"])
async def test_invalid_room_name_is_refused(stack: VoiceStack, room: str) -> None:
    status, body = await get_refusal(stack, room=room)
    assert (status, body["code"]) == (400, "bad_request")
    assert "room" in body["message"]


async def test_ninth_room_is_refused_until_another_disconnects(stack: VoiceStack) -> None:
    async with AsyncExitStack() as exits:
        open_ = [await exits.enter_async_context(stack.voice.talk(f"room{n}")) for n in range(8)]
        assert stack.voice.metric("barnabee_voice_sessions") == 8
        status, body = await get_refusal(stack, room="room8")
        assert (status, body["code"]) == (503, "overloaded")
        assert body["retry-after"] == "5"
        await open_[0].socket.close()
        await wait_until(lambda: stack.voice.metric("barnabee_voice_sessions") == 7)
        async with stack.voice.talk("room8") as ninth:
            assert ninth.get_messages("ready")


async def test_new_connection_of_a_room_replaces_the_old_one(stack: VoiceStack) -> None:
    async with stack.voice.talk("hall") as old, stack.voice.talk("hall") as new:
        await old.wait_until(lambda: old.close_code is not None)
        assert old.get_messages("error")[0]["code"] == "replaced"
        assert old.close_code == 1008
        await new.send_message(type="talk", on=True)
        await new.wait_for_state("listening")
        assert stack.voice.metric("barnabee_voice_sessions") == 1


# ---- protocol errors ----


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{", 1003),
        ("[]", 1003),
        ("[" * 5000, 1003),
        ('"' + "x" * 70_000 + '"', 1009),
        (b"\0" * 70_000, 1009),
    ],
)
async def test_invalid_message_closes_the_connection_with_a_reason(
    stack: VoiceStack, sent: str | bytes, code: int
) -> None:
    async with stack.voice.talk() as microphone:
        await microphone.socket.send(sent)
        await microphone.wait_until(lambda: microphone.close_code is not None)
        assert microphone.close_code == code
        assert microphone.get_messages("error")[0]["message"].endswith(".")
    async with stack.voice.talk() as again:
        assert again.get_messages("ready")


async def test_unknown_message_is_answered_with_the_known_types(stack: VoiceStack) -> None:
    async with stack.voice.talk() as microphone:
        await microphone.send_message(type="sing")
        await microphone.wait_until(lambda: bool(microphone.get_messages("error")))
        assert "false_wake" in microphone.get_messages("error")[0]["message"]
        assert microphone.close_code is None


async def test_audio_far_ahead_of_real_time_is_refused(stack: VoiceStack) -> None:
    async with stack.voice.talk() as microphone:
        await microphone.send_audio(make_silence(MAX_AHEAD_S + 1))
        await microphone.wait_until(lambda: microphone.close_code is not None)
        assert (microphone.close_code, microphone.get_messages("error")[0]["code"]) == (
            1008,
            "too_fast",
        )


async def test_audio_messages_may_have_any_length(stack: VoiceStack) -> None:
    async with stack.voice.talk() as microphone:
        await microphone.send_message(type="talk", on=True)
        sound = LIGHT.tobytes()
        for start in range(0, len(sound), 333):
            await microphone.socket.send(sound[start : start + 333])
        await microphone.wait_for_state("hearing")
        await microphone.send_in_real_time(make_silence(0.5))
        await microphone.send_message(type="talk", on=False)
        await microphone.wait_until(lambda: bool(microphone.get_messages("reply")))


# ---- health ----


async def test_readiness_names_missing_recordings(stack: VoiceStack) -> None:
    async with httpx.AsyncClient(base_url=stack.voice.url) as client:
        report = (await client.get("/health/ready")).json()
        assert report["status"] == "degraded"
        states = {name: check["status"] for name, check in report["dependencies"].items()}
        assert states == {
            "pipeline": "healthy",
            "gpu": "healthy",
            "api": "healthy",
            "recordings": "degraded",
        }
        assert (await client.get("/metrics")).status_code == 401


async def get_refusal(
    stack: VoiceStack, room: str = "kitchen", token: str = TOKEN
) -> tuple[int, dict[str, str]]:
    """Return the status and body of a refusal, with its Retry-After header."""
    try:
        async with stack.voice.talk(room, token):
            raise AssertionError("the connection was accepted")
    except InvalidStatus as answer:
        body = json.loads(answer.response.body or b"{}")
        later = answer.response.headers.get("Retry-After", "")
        return answer.response.status_code, {**body, "retry-after": later}
