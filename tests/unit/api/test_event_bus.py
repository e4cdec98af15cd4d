"""Open pages: told what is new, told that somebody is there, let go when they do not read."""

from __future__ import annotations

import asyncio

import pytest

from barnabee.api import event_bus
from barnabee.api.event_bus import EventBus, format_event
from barnabee.core.errors import Overloaded


def test_an_event_is_one_block_whatever_is_in_it() -> None:
    text = format_event("turn", {"utterance": "a\nb\r\n\n</script>"})
    assert text.startswith(b"event: turn\ndata: {")
    assert text.endswith(b"}\n\n")
    assert text.count(b"\n") == 3


async def test_a_page_hears_what_is_published() -> None:
    told = EventBus()
    assert not told.heard
    stream = await told.listen()
    assert told.heard
    told.publish("turn", {"a": 1})
    assert await anext(stream) == format_event("turn", {"a": 1})
    told.publish("beat", {})
    assert await anext(stream) == format_event("beat", {})


async def test_a_page_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bus, "MAX_QUEUED_EVENTS", 3)
    told = EventBus()
    stream = await told.listen()
    for number in range(10):
        told.publish("turn", number)
    heard = [text async for text in stream]
    assert len(heard) < 3
    assert not told.heard


async def test_there_is_a_limit_and_an_end() -> None:
    told = EventBus()
    streams = [await told.listen() for _ in range(event_bus.MAX_SUBSCRIBERS)]
    with pytest.raises(Overloaded):
        await told.listen()
    told.end()
    async with asyncio.timeout(5):
        assert [[text async for text in one] for one in streams] == [[]] * event_bus.MAX_SUBSCRIBERS
    with pytest.raises(Overloaded):
        await told.listen()
