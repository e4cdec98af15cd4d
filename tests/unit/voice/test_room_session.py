"""Room session: deadlines, turns and messages; room registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from barnabee.core import system, tracing
from barnabee.core.errors import DependencyDown, MicrophoneReplaced, Overloaded
from barnabee.core.spans import export_spans
from barnabee.voice.metrics import VoiceMetrics
from barnabee.voice.room_events import ConversationState, Effect, RoomEvent
from barnabee.voice.room_registry import RoomRegistry, RoomSlot
from barnabee.voice.room_session import RoomSession
from barnabee.voice.turn import Turn
from support.otlp import run_receiver
from support.wait import LAST_RESORT_S, wait_until

TALK = system.load_system(Path(__file__).resolve().parents[3] / "system.toml").talk


@asynccontextmanager
async def room(**talk: int) -> AsyncIterator[RoomSession]:
    session = RoomSession(
        "kitchen", "kitchen-1", TALK.model_copy(update=talk), VoiceMetrics("voice")
    )
    try:
        yield session
    finally:
        await session.close()


def drain_messages(session: RoomSession) -> list[dict[str, Any]]:
    return [session.messages.get_nowait() for _ in range(session.messages.qsize())]


async def test_wake_word_sets_the_trace_id_and_is_sent_to_the_client() -> None:
    async with room() as session:
        session.start_from_wake_word("hey_jarvis", "a" * 32, 240)
        assert session.turn is not None
        assert session.turn.trace_id == "a" * 32
        assert [message["type"] for message in drain_messages(session)] == ["wake", "state"]
        session.start_from_wake_word("hey_jarvis", "b" * 32, 0)  # a second wake word, before speech
        assert session.turn.trace_id == "b" * 32


async def test_pre_roll_is_known_while_a_turn_begins() -> None:
    async with room() as session:
        seen: list[int | None] = []
        session.on(Effect.BEGIN_TURN, lambda: seen.append(session.pre_roll_ms))
        session.start_from_wake_word("hey_jarvis", "a" * 32, 240)
        session.set_button(on=True)
        session.dispatch(RoomEvent.STOP)
        session.set_button(on=True)
        assert seen == [240, TALK.before_ms]
        assert session.pre_roll_ms is None


async def test_deadline_is_dispatched_by_the_timer() -> None:
    async with room(listen_s=0) as session:
        falsely = asyncio.Event()
        session.on(Effect.REPORT_FALSE_WAKE, falsely.set)
        session.start_from_wake_word("hey_jarvis", "a" * 32, 0)
        await asyncio.wait_for(falsely.wait(), LAST_RESORT_S)
        assert session.state is ConversationState.ASLEEP
        assert session.turn is None


async def test_tasks_of_a_turn_end_with_it_and_carry_its_trace_id() -> None:
    async with room() as session:
        session.set_button(on=True)
        assert session.turn is not None
        seen: list[str] = []

        async def work() -> None:
            seen.append(tracing.get_trace_id())
            await asyncio.Event().wait()

        task = session.turn.spawn(work())
        await wait_until(lambda: bool(seen))
        assert seen == [session.turn.trace_id]
        assert tracing.get_trace_id() != seen[0]
        session.dispatch(RoomEvent.STOP)
        await asyncio.wait([task])
        assert task.cancelled()


async def test_closed_session_ignores_events() -> None:
    async with room() as session:
        session.set_button(on=True)
    session.set_button(on=True)
    assert session.state is ConversationState.ASLEEP
    assert session.turn is None


async def test_messages_of_a_stalled_client_are_bounded() -> None:
    async with room() as session:
        for number in range(10_000):
            session.send_message("state", number=number)
        assert session.messages.qsize() < 1000


async def test_stage_durations_use_the_first_value_of_each_mark() -> None:
    turn = Turn(1, "a" * 32, "s", clock=lambda: 9.0)
    for name, at_s in (
        ("speech_end", 1.0),
        ("turn_end", 1.3),
        ("transcript", 1.8),
        ("transcript", 5.0),
    ):
        turn.mark(name, at_s)  # type: ignore[arg-type]
    assert turn.stages_s() == {"vad": pytest.approx(0.3), "stt": pytest.approx(0.5)}


async def test_turn_without_speech_is_not_counted() -> None:
    metrics = VoiceMetrics("voice")
    Turn(1, "a" * 32, "s").report(metrics, "kitchen")
    assert "barnabee_turns_total{" not in metrics.render().decode()


async def test_turn_is_the_root_of_its_stages_and_calls() -> None:
    async def call() -> dict[str, str]:
        return tracing.make_headers()

    with run_receiver() as received, export_spans("voice", received.url):
        tracing.adopt_trace_id(None)
        tracing.start_root_span("connection")  # of the room, longer than its turns
        turn = Turn(1, "a" * 32, "s", clock=lambda: 9.0)
        turn.mark("speech_end", 1.0)
        turn.mark("turn_end", 1.25)
        passed_on = await turn.spawn(call())
        turn.outcome, turn.code = "failed", "stt_failed"
        turn.report(VoiceMetrics("voice"), "kitchen")
    vad, root = received.spans
    assert (root.name, root.trace_id, root.parent_id, root.failed) == ("turn", "a" * 32, "", True)
    assert root.attributes["barnabee.room"] == "kitchen"
    assert (vad.name, vad.parent_id, vad.took_ms) == ("vad", root.span_id, 250)
    assert passed_on[tracing.HEADER].startswith(f"00-{root.trace_id}-{root.span_id}-")


# ---- registry ----


async def test_new_connection_replaces_the_slot_of_its_room() -> None:
    counts: list[int] = []
    rooms = RoomRegistry(1, counts.append)
    with rooms.hold_slot("kitchen") as old:
        with pytest.raises(Overloaded), rooms.hold_slot("attic"):
            pass
        with rooms.hold_slot("kitchen"):
            assert old.closed.is_set()
            assert isinstance(old.reason, MicrophoneReplaced)
            assert counts[-1] == 1
    assert counts[-1] == 0
    with rooms.hold_slot("attic"):
        pass


async def test_a_pending_slot_occupies_its_room_when_it_connects() -> None:
    rooms = RoomRegistry(1, lambda _: None)
    with rooms.hold_slot("kitchen") as talking, rooms.hold_slot("kitchen", pending=True) as slot:
        assert not talking.closed.is_set()
        rooms.connect(slot)
        assert isinstance(talking.reason, MicrophoneReplaced)
        assert rooms.list_slots() == [slot]


async def test_a_pending_slot_may_find_all_rooms_taken() -> None:
    rooms = RoomRegistry(1, lambda _: None)
    with (
        rooms.hold_slot("kitchen", pending=True) as slot,
        rooms.hold_slot("attic"),
        pytest.raises(Overloaded),
    ):
        rooms.connect(slot)


async def test_pending_slots_are_bounded_and_the_oldest_makes_way() -> None:
    rooms = RoomRegistry(8, lambda _: None)
    with ExitStack() as stack:

        def offer(room: str, client: str) -> RoomSlot:
            return stack.enter_context(rooms.hold_slot(room, client, pending=True))

        first, second = offer("kitchen", "phone"), offer("attic", "phone")
        again = offer("attic", "phone")
        assert (first.closed.is_set(), second.closed.is_set()) == (False, True)
        offer("hall", "phone")
        assert (first.closed.is_set(), again.closed.is_set()) == (True, False)
        others = [offer("hall", f"page{number}") for number in range(7)]
        assert again.closed.is_set()
        assert not any(slot.closed.is_set() for slot in others)


async def test_registry_close_ends_all_slots_and_refuses_new_rooms() -> None:
    rooms = RoomRegistry(8, lambda _: None)

    async def stay(slot: RoomSlot) -> None:
        await slot.closed.wait()

    async def hold() -> None:
        with rooms.hold_slot("kitchen") as slot:
            await stay(slot)

    task = asyncio.create_task(hold())
    await asyncio.sleep(0)
    await rooms.close()
    assert task.done()
    with pytest.raises(DependencyDown), rooms.hold_slot("kitchen"):
        pass
