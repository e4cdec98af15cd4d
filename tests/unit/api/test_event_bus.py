"""Server-sent events: delivery, limits and shutdown."""

from __future__ import annotations

import asyncio

import pytest

from barnabee.api import status_watcher
from barnabee.api.status_watcher import EventBus, format_event
from barnabee.core.errors import Overloaded


def test_event_is_one_block_with_any_content() -> None:
    text = format_event("turn", {"utterance": "a\nb\r\n\n</script>"})
    assert text.startswith(b"event: turn\ndata: {")
    assert text.endswith(b"}\n\n")
    assert text.count(b"\n") == 3


async def test_subscriber_receives_published_events() -> None:
    bus = EventBus()
    assert not bus.has_subscribers
    stream = await bus.subscribe()
    assert bus.has_subscribers
    bus.publish("turn", {"a": 1})
    assert await anext(stream) == format_event("turn", {"a": 1})
    bus.publish("beat", {})
    assert await anext(stream) == format_event("beat", {})


async def test_slow_subscriber_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_watcher, "MAX_QUEUED_EVENTS", 3)
    bus = EventBus()
    stream = await bus.subscribe()
    for number in range(10):
        bus.publish("turn", number)
    received = [text async for text in stream]
    assert len(received) < 3
    assert not bus.has_subscribers


async def test_subscribers_are_limited_and_refused_after_close() -> None:
    bus = EventBus()
    streams = [await bus.subscribe() for _ in range(status_watcher.MAX_SUBSCRIBERS)]
    with pytest.raises(Overloaded):
        await bus.subscribe()
    bus.close()
    async with asyncio.timeout(60):
        assert [[text async for text in one] for one in streams] == [
            []
        ] * status_watcher.MAX_SUBSCRIBERS
    with pytest.raises(Overloaded):
        await bus.subscribe()
