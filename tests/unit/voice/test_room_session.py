"""The shell around the states: deadlines, turns, messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from barnabee.core import system, trace_context
from barnabee.core.errors import DependencyDown, Overloaded, Replaced
from barnabee.voice.conversation import Effect, Event, State
from barnabee.voice.metrics import VoiceMetrics
from barnabee.voice.room_registry import Place, Rooms
from barnabee.voice.room_session import Room
from barnabee.voice.turn import Turn
from support.wait import until

TALK = system.load(Path(__file__).resolve().parents[3] / "system.toml").talk


@asynccontextmanager
async def room(**talk: int) -> AsyncIterator[Room]:
    one = Room("kitchen", "kitchen-1", TALK.model_copy(update=talk), VoiceMetrics("voice"))
    try:
        yield one
    finally:
        await one.close()


def messages(one: Room) -> list[dict[str, Any]]:
    return [one.messages.get_nowait() for _ in range(one.messages.qsize())]


async def test_a_wake_gives_the_turn_its_trace_id_and_is_told() -> None:
    async with room() as one:
        one.wake("hey_jarvis", "a" * 32, 240)
        assert one.turn is not None
        assert one.turn.trace_id == "a" * 32
        assert [message["type"] for message in messages(one)] == ["wake", "state"]
        one.wake("hey_jarvis", "b" * 32, 0)  # called again before anything was said
        assert one.turn.trace_id == "b" * 32


async def test_how_far_back_a_turn_begins_is_known_while_it_begins() -> None:
    async with room() as one:
        seen: list[int | None] = []
        one.on(Effect.BEGIN, lambda: seen.append(one.since_ms))
        one.wake("hey_jarvis", "a" * 32, 240)
        one.press(on=True)
        one.tell(Event.STOP)
        one.press(on=True)
        assert seen == [240, TALK.before_ms]
        assert one.since_ms is None


async def test_a_deadline_passes_by_itself() -> None:
    async with room(listen_s=0) as one:
        falsely = asyncio.Event()
        one.on(Effect.FALSELY_WOKEN, falsely.set)
        one.wake("hey_jarvis", "a" * 32, 0)
        await asyncio.wait_for(falsely.wait(), 5)
        assert one.state is State.ASLEEP
        assert one.turn is None


async def test_what_works_for_a_turn_ends_with_it_and_carries_its_trace_id() -> None:
    async with room() as one:
        one.press(on=True)
        assert one.turn is not None
        seen: list[str] = []

        async def work() -> None:
            seen.append(trace_context.current())
            await asyncio.Event().wait()

        task = one.turn.spawn(work())
        await until(lambda: bool(seen))
        assert seen == [one.turn.trace_id]
        assert trace_context.current() != seen[0]
        one.tell(Event.STOP)
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_closed_room_listens_to_nothing() -> None:
    async with room() as one:
        one.press(on=True)
    one.press(on=True)
    assert one.state is State.ASLEEP
    assert one.turn is None


async def test_a_client_that_does_not_read_costs_no_memory() -> None:
    async with room() as one:
        for number in range(10_000):
            one.say("state", number=number)
        assert one.messages.qsize() < 1000


async def test_stages_are_measured_between_their_marks_and_a_first_mark_counts() -> None:
    turn = Turn(1, "a" * 32, "s", clock=lambda: 9.0)
    for name, at_s in (("silent", 1.0), ("ended", 1.3), ("heard", 1.8), ("heard", 5.0)):
        turn.mark(name, at_s)  # type: ignore[arg-type]
    assert turn.stages_s() == {"vad": pytest.approx(0.3), "stt": pytest.approx(0.5)}


async def test_a_turn_in_which_nobody_spoke_is_not_counted() -> None:
    metrics = VoiceMetrics("voice")
    Turn(1, "a" * 32, "s").report(metrics, "kitchen")
    assert "barnabee_turns_total{" not in metrics.render().decode()


# ---- places ----


async def test_a_room_has_one_place_and_the_newer_one_gets_it() -> None:
    shown: list[int] = []
    rooms = Rooms(1, shown.append)
    with rooms.place("kitchen") as old:
        with pytest.raises(Overloaded), rooms.place("attic"):
            pass
        with rooms.place("kitchen"):
            assert old.ended.is_set()
            assert isinstance(old.why, Replaced)
            assert shown[-1] == 1
    assert shown[-1] == 0
    with rooms.place("attic"):
        pass


async def test_when_the_service_ends_all_are_asked_to_leave_and_nobody_enters() -> None:
    rooms = Rooms(8, lambda _: None)

    async def stay(place: Place) -> None:
        await place.ended.wait()

    async def hold() -> None:
        with rooms.place("kitchen") as place:
            await stay(place)

    task = asyncio.create_task(hold())
    await asyncio.sleep(0)
    await rooms.end()
    assert task.done()
    with pytest.raises(DependencyDown), rooms.place("kitchen"):
        pass
