"""Replies that are spoken while they are generated: order, barge-in, a stream that breaks off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response, StreamingResponse

from barnabee.voice.transports import websocket
from support.voice import load_recording, make_silence
from support.voice_stack import MAX_AHEAD_S, VoiceStack, open_woken_microphone, run_voice_stack

LIGHT = load_recording("kitchen_light_af_heart")
FIRST, SECOND, LAST = "This is the first.", "This is the second.", "It broke off."


class Reply:
    """A reply whose second part waits for `go_on`; `left` is set when the client leaves."""

    def __init__(self, last: dict[str, Any] | None) -> None:
        self.go_on, self.left = asyncio.Event(), asyncio.Event()
        self._last = last

    def make_response(self) -> Response:
        return StreamingResponse(self._generate(), media_type="text/event-stream")

    async def _generate(self) -> AsyncIterator[str]:
        try:
            yield _event("sentence", {"text": FIRST})
            await self.go_on.wait()
            yield _event("sentence", {"text": SECOND})
            if self._last is not None:
                yield _event("result", self._last)
        except asyncio.CancelledError:
            self.left.set()
            raise


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def make_result(reply: str) -> dict[str, Any]:
    empty: dict[str, Any] = {"actions": [], "degraded": [], "code": None, "latency_ms": {}}
    return empty | {"reply": reply, "intent": "chat", "session_id": "s", "trace_id": "t"}


@pytest.fixture
async def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VoiceStack]:
    monkeypatch.setattr(websocket, "MAX_AHEAD_S", MAX_AHEAD_S)
    async with run_voice_stack(tmp_path) as running:
        yield running


async def test_the_first_sentence_is_spoken_while_the_rest_is_generated(stack: VoiceStack) -> None:
    reply = Reply(make_result(f"{FIRST} {SECOND} {LAST}"))
    stack.api.refuse = reply.make_response
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_for_state("speaking")
        assert stack.synthesizer.spoken == [FIRST]
        reply.go_on.set()
        await microphone.wait_for_state("follow_up")
        assert microphone.get_messages("reply")[0]["text"] == f"{FIRST} {SECOND} {LAST}"
    assert stack.synthesizer.spoken == [FIRST, SECOND, LAST]
    assert stack.voice.metric("barnabee_turns_total", outcome="answered", code="") == 1


async def test_stopping_ends_the_generation(stack: VoiceStack) -> None:
    reply = Reply(make_result(FIRST))
    stack.api.refuse = reply.make_response
    async with open_woken_microphone(stack) as microphone, asyncio.timeout(120):
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_for_state("speaking")
        await microphone.send_message(type="stop")
        await reply.left.wait()
    assert stack.synthesizer.spoken == [FIRST]


async def test_a_stream_that_breaks_off_ends_the_turn_as_failed(stack: VoiceStack) -> None:
    reply = Reply(None)
    stack.api.refuse = reply.make_response
    reply.go_on.set()
    async with open_woken_microphone(stack) as microphone:
        await microphone.send_audio(LIGHT, make_silence(2.0))
        await microphone.wait_for_state("follow_up")
        assert microphone.get_messages("error")[0]["code"] == "dependency_down"
    assert stack.synthesizer.spoken == [FIRST, SECOND]
