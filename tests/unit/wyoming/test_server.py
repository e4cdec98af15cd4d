"""Connections of the Wyoming server: invalid events, limits, and clients that leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wyoming.audio import AudioChunk, AudioStart
from wyoming.event import Event
from wyoming.ping import Ping
from wyoming.tts import Synthesize

from barnabee.core.errors import BadRequest
from barnabee.wyoming import events, server
from support.wait import wait_until
from support.wyoming import WyomingStack, read_until, run_wyoming_stack


@pytest.fixture
async def stack() -> AsyncIterator[WyomingStack]:
    async with run_wyoming_stack() as running:
        yield running


INVALID = {
    "no JSON": b"hello\n",
    "no object": b"[1]\n",
    "no type": b"{}\n",
    "type of another kind": b'{"type": 7}\n',
    "nested without end": b"[" * 40_000 + b"\n",
    "line without end": b"x" * (events.LINE_MAX_BYTES + 1),
    "data of another kind": b'{"type": "ping", "data": [1]}\n',
    "data that is no JSON": b'{"type": "ping", "data_length": 2}\n}{',
    "endless data": b'{"type": "ping", "data_length": 99999999999}\n',
    "negative payload": b'{"type": "audio-chunk", "payload_length": -1}\n',
    "huge payload": b'{"type": "audio-chunk", "payload_length": 2000000}\n',
    "payload length as text": b'{"type": "audio-chunk", "payload_length": "9"}\n',
}


@pytest.mark.parametrize("sent", INVALID.values(), ids=INVALID.keys())
async def test_an_invalid_event_gets_one_sentence_and_the_end(
    stack: WyomingStack, sent: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    writer.write(sent)
    header = json.loads(await reader.readline())
    body = json.loads(await reader.readexactly(header["data_length"]))
    assert header["type"] == "error"
    assert body["code"] == "bad_request"
    assert body["text"].endswith(".")
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b'{"type": "synthesize"}\n',
        b'{"type": "synthesize", "data": {"text": 7, "voice": "x"}}\n',
        b'{"type": "transcript", "data": {"text": "hi", "context": 3}}\n',
        b'{"type": "audio-chunk", "data": {"rate": "fast"}}\n',
        b'{"type": "audio-start", "data": {"rate": 1, "width": 2, "channels": 1}}\n',
        b'{"type": "audio-start", "data": {"rate": 16000, "width": 9, "channels": 1}}\n',
        b'{"type": "synthesize-chunk", "data": {"text": "no start"}}\n',
        b'{"type": "synthesize", "data": {"text": ""}}\n',
    ],
)
async def test_wrong_fields_get_one_sentence_and_the_end(stack: WyomingStack, sent: bytes) -> None:
    async with stack.connect() as client:
        assert client._writer is not None
        client._writer.write(sent)
        (answer,) = await read_until(client, "nothing")
        assert (answer.type, answer.data["code"]) == ("error", "bad_request")
        assert await client.read_event() is None


async def test_events_of_a_newer_protocol_are_ignored(stack: WyomingStack) -> None:
    future = Event("of-the-future", {"text": "?"}, b"payload")
    answers = await stack.ask(future, Ping(text="on"), until="pong")
    assert [event.type for event in answers] == ["pong"]


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_an_invalid_event(sent: bytes) -> None:
    async def read_all() -> None:
        reader = asyncio.StreamReader(limit=events.LINE_MAX_BYTES)
        reader.feed_data(sent)
        reader.feed_eof()
        try:
            while await events.read_event(reader) is not None:
                pass
        except BadRequest:
            pass

    asyncio.run(read_all())


async def test_more_connections_than_the_limit_are_refused(
    stack: WyomingStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 2)
    async with stack.connect() as first, stack.connect() as second:
        for client in (first, second):
            await client.write_event(Ping().event())
            await read_until(client, "pong")
        (refused,) = await stack.ask(until="pong")
        assert (refused.type, refused.data["code"]) == ("error", "overloaded")
    await wait_until(lambda: stack.server.connections == 0)
    assert (await stack.ask(Ping(), until="pong"))[-1].type == "pong"


async def test_fifty_clients_are_answered_at_the_same_time(stack: WyomingStack) -> None:
    answers = await asyncio.gather(
        *(stack.ask(Synthesize(text=f"Sentence {n}."), until="audio-stop") for n in range(50))
    )
    assert all(events[-1].type == "audio-stop" for events in answers)


async def test_a_client_that_does_not_read_is_disconnected(
    stack: WyomingStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WRITE_S", 0.2)
    _, writer = await asyncio.open_connection("127.0.0.1", stack.port, limit=1024)
    text = "A long sentence that is spoken for a while. " * 60
    body = json.dumps({"text": text}).encode()
    event = json.dumps({"type": "synthesize", "data_length": len(body)}).encode() + b"\n" + body
    writer.write(event * 40)
    await wait_until(lambda: stack.server.connections == 1)
    await wait_until(lambda: stack.server.connections == 0)
    writer.close()


async def test_a_silent_connection_is_closed(
    stack: WyomingStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.1)
    assert await stack.ask(until="pong") == []


async def test_an_endless_utterance_is_refused(stack: WyomingStack) -> None:
    form = {"rate": 192_000, "width": 4, "channels": 8}
    async with stack.connect() as client:
        await client.write_event(AudioStart(**form).event())
        chunk = AudioChunk(**form, audio=bytes(events.PAYLOAD_MAX_BYTES)).event()
        answer = asyncio.create_task(read_until(client, "transcript"))
        while not answer.done():
            with suppress(ConnectionError):
                await client.write_event(chunk)
            await asyncio.sleep(0)
        assert answer.result()[-1].data["code"] == "too_large"


async def test_stopping_ends_all_connections(stack: WyomingStack) -> None:
    async with stack.connect() as client:
        await client.write_event(Ping().event())
        await read_until(client, "pong")
        await stack.server.stop()
        assert await client.read_event() is None
    assert not stack.server.is_serving
    with pytest.raises(ConnectionRefusedError):
        await stack.ask(Ping(), until="pong")
