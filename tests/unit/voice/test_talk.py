"""The service end to end over its WebSocket: real detectors and pipeline, stand-ins for engines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from starlette.responses import JSONResponse
from websockets.exceptions import ConnectionClosed, InvalidStatus

from barnabee.core import system
from barnabee.voice import filler_files
from barnabee.voice.transports import websocket
from barnabee.voice.vad import Detector
from support.talk import AHEAD_S, House, talk_house, woken
from support.voice import ROOT, TOKEN, recording, silence
from support.wait import until

LIGHT = recording("kitchen_light_af_heart")


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(websocket, "AHEAD_S", AHEAD_S)
    async with talk_house(tmp_path) as one:
        yield one


async def test_a_sentence_is_heard_answered_and_the_answer_is_spoken(house: House) -> None:
    async with woken(house) as microphone:
        wake = microphone.of("wake")[0]
        await microphone.say(LIGHT, silence(2.5))
        await microphone.until_state("follow_up")
        states = [one["state"] for one in microphone.of("state")]
        assert states == ["asleep", "listening", "hearing", "thinking", "speaking", "follow_up"]
        assert microphone.of("transcript")[0]["text"] == "turn on the kitchen light"
        assert microphone.of("reply")[0]["text"] == "The kitchen light is on."
        assert house.mouth.said == ["The kitchen light is on."]
        assert house.api.asked[0]["utterance"] == "turn on the kitchen light"
        assert house.api.traces == [wake["trace_id"]]
        spoken_s = len("The kitchen light is on.") * 0.01
        chime_s = 0.16
        assert len(microphone.heard) / 48_000 == pytest.approx(spoken_s + chime_s, abs=0.08)
        assert not microphone.of("error")
    assert house.voice.metric("barnabee_turns_total", outcome="answered", code="") == 1
    await until(lambda: bool(house.api.told))
    told = house.api.told[wake["trace_id"]]
    assert (told["room"], told["interrupted"]) == ("kitchen", False)
    stages = {"wake", "vad", "stt", "command", "tts_first_byte", "first_audio"}
    assert set(told["stages"]) == stages
    assert not list(house.data.rglob("*.wav")), "nobody has allowed recordings"


async def test_one_breath_with_the_wake_word_loses_nothing(house: House) -> None:
    async with house.voice.talk() as microphone:
        frames = house.wake.frames
        await microphone.say(silence(0.08))
        await microphone.until(lambda: house.wake.frames > frames)
        # as fast as it sounds: of what comes all at once, only the last seconds are kept asleep
        await microphone.say_slowly(house.wake.saying("hey_jarvis"), LIGHT, silence(1.0))
        await microphone.until_state("follow_up")
        loud = np.flatnonzero(np.abs(LIGHT) > 300)
        assert house.ears.heard[-1][0] >= (loud[-1] - loud[0]) / 16_000


async def test_asleep_nothing_is_transcribed(house: House) -> None:
    async with house.voice.talk() as microphone:
        frames = house.wake.frames
        await microphone.say(LIGHT, silence(1.5))
        await microphone.until(lambda: house.wake.frames >= frames + 12)
        assert microphone.state == "asleep"
        assert not house.ears.heard


async def test_the_button_needs_no_wake_word_and_no_pause_ends_its_turn(house: House) -> None:
    async with house.voice.talk() as microphone:
        await microphone.tell(type="talk", on=True)
        await microphone.until_state("listening")
        await microphone.say_slowly(LIGHT, silence(0.5), LIGHT)
        await microphone.tell(type="talk", on=False)
        await microphone.until_state("follow_up")
        assert len(house.api.asked) == 1
        assert house.ears.heard[-1][0] > 2 * len(LIGHT) / 16_000


async def test_after_a_reply_no_wake_word_is_needed(house: House) -> None:
    async with woken(house) as microphone:
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until_state("follow_up")
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until(lambda: len(house.api.asked) == 2)
        sessions = {one["session_id"] for one in house.api.asked}
        assert len(sessions) == 1
        assert len(set(house.api.traces)) == 2


async def test_when_nobody_speaks_the_wake_was_false(house: House) -> None:
    async with woken(house) as microphone:
        await microphone.tell(type="false_wake")
        await microphone.until_state("asleep")
        await until(lambda: house.false_wakes() == 1)


async def test_talking_into_the_reply_ends_it_and_what_was_heard_is_known(house: House) -> None:
    house.api.reply = "One, two, three, four, five, six. " * 12
    async with woken(house) as microphone:
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until_state("speaking")
        heard = len(microphone.heard)
        await microphone.until(lambda: len(microphone.heard) > heard + 24_000)
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until(lambda: bool(microphone.of("heard")))
        told = microphone.of("heard")[0]["text"]
        assert house.api.reply.startswith(told)
        assert 0 < len(told) < len(house.api.reply) / 2
        await microphone.until(lambda: bool(microphone.of("stop")))
        await microphone.until(lambda: len(house.api.asked) == 2)
    assert house.voice.metric("barnabee_barge_ins_total") == 1
    assert house.voice.metric("barnabee_turns_total", outcome="interrupted", code="") == 1


async def test_without_the_api_it_says_so_and_works_again_when_it_is_back(house: House) -> None:
    house.api.refuse = lambda: JSONResponse({"code": "internal", "message": "no"}, 500)
    async with woken(house) as microphone:
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until(lambda: bool(microphone.of("error")))
        assert microphone.of("error")[0]["code"] == "dependency_down"
        await microphone.until_state("follow_up")
        house.api.refuse = None
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until(lambda: bool(microphone.of("reply")))


# ---- recordings ----


@pytest.fixture
def recorded(tmp_path: Path) -> float:
    """Record every phrase as a tone of 3 s; return its length."""
    seconds = 3.0

    def tone(_phrase: str) -> NDArray[np.float32]:
        angle = 2 * np.pi * 330 * np.arange(int(seconds * 24_000)) / 24_000
        return (0.3 * np.sin(angle)).astype(np.float32)

    maker = filler_files.Maker(tone, {"tone": 330}, 24_000)
    filler_files.generate(system.current(), maker, tmp_path / "fillers")
    return seconds


async def test_a_filler_is_heard_while_the_answer_takes_long_and_is_cut_when_it_is_there(
    recorded: float, house: House
) -> None:
    house.api.gate = asyncio.Event()
    async with woken(house) as microphone:
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until(lambda: len(microphone.heard) / 48_000 > 0.16 + 0.5)
        assert microphone.state == "thinking"
        house.api.gate.set()
        await microphone.until_state("follow_up")
        spoken_s = len(house.api.reply) * 0.01
        assert len(microphone.heard) / 48_000 < 0.16 + recorded / 2 + spoken_s
    assert house.voice.metric("barnabee_fillers_total", verdict="needless") == 1


async def test_no_filler_is_heard_when_the_answer_is_there_at_once(
    recorded: float, tmp_path: Path
) -> None:
    """A filler has to wait for long here, so that a busy machine answers before it, too."""
    graph = system.load(ROOT / "system.toml")
    talk = graph.talk.model_copy(update={"filler_after_ms": 60_000})
    patient = graph.model_copy(update={"talk": talk})
    async with talk_house(tmp_path, patient) as house, woken(house) as microphone:
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until_state("follow_up")
        spoken_s = len(house.api.reply) * 0.01
        assert len(microphone.heard) / 48_000 < 0.16 + spoken_s + 0.1
        assert recorded > spoken_s
    assert house.voice.metric("barnabee_fillers_total", verdict="right") == 1


async def test_asking_back_begins_with_its_own_words_and_nothing_cuts_them(
    recorded: float, house: House
) -> None:
    house.api.intent, house.api.reply = "unsure", "Did you mean the light?"
    async with woken(house) as microphone:
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until_state("follow_up")
        assert len(microphone.heard) / 48_000 > recorded


async def test_without_the_api_a_recording_is_heard(recorded: float, house: House) -> None:
    house.api.refuse = lambda: JSONResponse({"code": "internal", "message": "no"}, 500)
    async with woken(house) as microphone:
        await microphone.say(LIGHT, silence(2.0))
        await microphone.until_state("follow_up")
        assert len(microphone.heard) / 48_000 > recorded
    turns = {"outcome": "failed", "code": "dependency_down"}
    assert house.voice.metric("barnabee_turns_total", **turns) == 1


# ---- faults ----


async def test_a_fault_in_a_stage_ends_its_room_with_a_word_and_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.voice.talk("attic") as other, house.voice.talk("kitchen") as microphone:

        def broken(*_: object, **__: object) -> None:
            msg = "broken"
            raise RuntimeError(msg)

        await microphone.tell(type="talk", on=True)
        await microphone.until_state("listening")
        with monkeypatch.context() as patch:
            patch.setattr(Detector, "hear", broken)
            await microphone.say(silence(0.2))
            await microphone.until(lambda: microphone.closed is not None)
        assert (microphone.closed, microphone.of("error")[0]["code"]) == (1001, "internal")
        await other.tell(type="talk", on=True)
        await other.until_state("listening")
        labels = {"component": "voice", "code": "internal"}  # counted when the request is over
        await until(lambda: house.voice.metric("barnabee_errors_total", **labels) == 1)


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


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=st.lists(frames, min_size=1, max_size=6))
async def test_whatever_is_sent_kills_nothing(house: House, sent: list[str | bytes]) -> None:
    async with house.voice.talk("fuzz") as microphone:
        with suppress(ConnectionClosed):
            for frame in sent:
                await microphone.socket.send(frame)
    assert microphone.closed in {1000, 1003, 1008, 1009}
    async with httpx.AsyncClient(base_url=house.voice.url) as client:
        assert (await client.get("/health/ready")).status_code == 200
    assert house.voice.metric("barnabee_errors_total", component="voice", code="internal") == 0


# ---- who may, and how many ----


async def test_without_the_token_it_is_refused_before_it_opens(house: House) -> None:
    status, body = await refused(house, token="wrong")
    assert (status, body["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("room", ["Kitchen!", "x" * 40, "9", "kitchen%0A"])
async def test_a_room_that_cannot_be_one_is_refused_in_a_sentence(house: House, room: str) -> None:
    status, body = await refused(house, room=room)
    assert (status, body["code"]) == (400, "bad_request")
    assert "room" in body["message"]


async def test_a_ninth_room_is_refused_until_another_leaves(house: House) -> None:
    async with AsyncExitStack() as stack:
        open_ = [await stack.enter_async_context(house.voice.talk(f"room{n}")) for n in range(8)]
        assert house.voice.metric("barnabee_voice_sessions") == 8
        status, body = await refused(house, room="room8")
        assert (status, body["code"]) == (503, "overloaded")
        assert body["retry-after"] == "5"
        await open_[0].socket.close()
        await until(lambda: house.voice.metric("barnabee_voice_sessions") == 7)
        async with house.voice.talk("room8") as ninth:
            assert ninth.of("ready")


async def test_a_room_that_connects_again_replaces_its_old_connection(house: House) -> None:
    async with house.voice.talk("hall") as old, house.voice.talk("hall") as new:
        await old.until(lambda: old.closed is not None)
        assert old.of("error")[0]["code"] == "replaced"
        assert old.closed == 1008
        await new.tell(type="talk", on=True)
        await new.until_state("listening")
        assert house.voice.metric("barnabee_voice_sessions") == 1


# ---- nonsense ----


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
async def test_what_cannot_be_understood_ends_the_connection_with_a_reason(
    house: House, sent: str | bytes, code: int
) -> None:
    async with house.voice.talk() as microphone:
        await microphone.socket.send(sent)
        await microphone.until(lambda: microphone.closed is not None)
        assert microphone.closed == code
        assert microphone.of("error")[0]["message"].endswith(".")
    async with house.voice.talk() as again:
        assert again.of("ready")


async def test_a_message_that_is_not_known_is_answered_with_those_that_are(house: House) -> None:
    async with house.voice.talk() as microphone:
        await microphone.tell(type="sing")
        await microphone.until(lambda: bool(microphone.of("error")))
        assert "false_wake" in microphone.of("error")[0]["message"]
        assert microphone.closed is None


async def test_sound_far_ahead_of_its_time_is_refused(house: House) -> None:
    async with house.voice.talk() as microphone:
        await microphone.say(silence(AHEAD_S + 1))
        await microphone.until(lambda: microphone.closed is not None)
        assert (microphone.closed, microphone.of("error")[0]["code"]) == (1008, "too_fast")


async def test_sound_may_come_in_pieces_of_any_length(house: House) -> None:
    async with house.voice.talk() as microphone:
        await microphone.tell(type="talk", on=True)
        sound = LIGHT.tobytes()
        for start in range(0, len(sound), 333):
            await microphone.socket.send(sound[start : start + 333])
        await microphone.until_state("hearing")
        await microphone.say_slowly(silence(0.5))
        await microphone.tell(type="talk", on=False)
        await microphone.until(lambda: bool(microphone.of("reply")))


# ---- health ----


async def test_it_is_ready_and_says_what_is_missing(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.voice.url) as client:
        report = (await client.get("/health/ready")).json()
        assert report["status"] == "degraded"
        states = {name: one["status"] for name, one in report["dependencies"].items()}
        assert states == {
            "pipeline": "healthy",
            "gpu": "healthy",
            "api": "healthy",
            "recordings": "degraded",
        }
        assert (await client.get("/metrics")).status_code == 401


async def refused(
    house: House, room: str = "kitchen", token: str = TOKEN
) -> tuple[int, dict[str, str]]:
    """Return the status, and the body with its Retry-After, with which a room is refused."""
    try:
        async with house.voice.talk(room, token):
            raise AssertionError("it was not refused")
    except InvalidStatus as answer:
        body = json.loads(answer.response.body or b"{}")
        later = answer.response.headers.get("Retry-After", "")
        return answer.response.status_code, {**body, "retry-after": later}
