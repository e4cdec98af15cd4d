from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barnabee.core.errors import BadRequest
from barnabee.store.conversations import (
    Conversations,
    Fact,
    Facts,
    TurnRecord,
    format_timestamp,
    make_cursor,
)
from barnabee.store.db import Database, open_database
from support.turn_records import make_turn

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
json_values = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | texts
turns = st.builds(
    TurnRecord,
    trace_id=st.text("0123456789abcdef", min_size=32, max_size=32),
    session_id=texts,
    speaker=st.none() | texts,
    utterance=texts,
    reply=texts,
    intent=texts,
    actions=st.lists(st.dictionaries(texts, json_values, max_size=3), max_size=3),
    degraded=st.lists(texts, max_size=3),
    latency_ms=st.dictionaries(texts, st.floats(0, 1e6), max_size=3),
    created_at=st.datetimes(timezones=st.just(UTC)).map(format_timestamp),
)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await open_database(tmp_path / "barnabee.db")
    yield database
    await database.close()


@pytest.fixture
def conversations(database: Database) -> Conversations:
    return Conversations(database)


@given(turn=turns)
def test_a_turn_survives_its_json_form(turn: TurnRecord) -> None:
    assert TurnRecord.from_dict(turn.as_dict()) == turn


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turn=turns)
async def test_a_turn_is_read_back_as_it_was_recorded(
    conversations: Conversations, turn: TurnRecord
) -> None:
    first = await conversations.record(turn)
    again = await conversations.record(turn)

    assert again is False
    if first:  # hypothesis may repeat a trace id with another content
        assert await conversations.get_turn(turn.trace_id) == turn


@pytest.mark.parametrize("name", list(make_turn(1).as_dict()))
def test_a_turn_without_a_field_is_refused_by_name(name: str) -> None:
    data = make_turn(1).as_dict()
    data[name] = 7

    with pytest.raises(BadRequest, match=f"`{name}`"):
        TurnRecord.from_dict(data)


async def test_recording_twice_keeps_the_first_turn(conversations: Conversations) -> None:
    await conversations.record(make_turn(1))

    assert await conversations.record(make_turn(1, reply="another")) is False
    found = await conversations.get_turn(make_turn(1).trace_id)
    assert found == make_turn(1)


async def test_an_unknown_turn_is_none(conversations: Conversations) -> None:
    assert await conversations.get_turn("0" * 32) is None


async def test_turns_come_newest_first_and_page_by_time(conversations: Conversations) -> None:
    for number in (3, 1, 4, 2):
        await conversations.record(make_turn(number))

    first = await conversations.list_turns(limit=2)
    rest = await conversations.list_turns(limit=10, before=first[-1].created_at)

    assert [turn.utterance[-1] for turn in first + rest] == ["4", "3", "2", "1"]


async def test_paging_loses_no_turn_of_the_same_millisecond(conversations: Conversations) -> None:
    moment = "2025-03-01T00:00:00.000Z"
    expected = {make_turn(number).trace_id for number in range(7)}
    for number in range(7):
        await conversations.record(make_turn(number, created_at=moment))

    seen: list[str] = []
    page = await conversations.list_turns(limit=2)
    while page:
        seen += [turn.trace_id for turn in page]
        page = await conversations.list_turns(limit=2, before=make_cursor(page[-1]))

    assert sorted(seen) == sorted(expected)


async def test_turns_are_filtered_by_session(conversations: Conversations) -> None:
    await conversations.record(make_turn(1, session_id="kitchen"))
    await conversations.record(make_turn(2, session_id="hall"))

    found = await conversations.list_turns(session_id="hall")

    assert [turn.session_id for turn in found] == ["hall"]


async def test_only_older_turns_expire(conversations: Conversations) -> None:
    for number in range(5):
        await conversations.record(make_turn(number))

    assert await conversations.expire(make_turn(3).created_at) == 3
    assert len(await conversations.list_turns()) == 2


async def test_a_lone_surrogate_is_stored_as_a_question_mark(
    conversations: Conversations,
) -> None:
    await conversations.record(make_turn(1, utterance="a\ud800b", actions=[{"x": "\ud800"}]))

    found = await conversations.get_turn(make_turn(1).trace_id)
    assert found is not None
    assert found.utterance == "a?b"


async def test_an_utterance_may_contain_nul_quotes_and_sql(conversations: Conversations) -> None:
    nasty = "x\x00y'); DROP TABLE turns; --"
    await conversations.record(make_turn(1, utterance=nasty))

    found = await conversations.get_turn(make_turn(1).trace_id)
    assert found is not None
    assert found.utterance == nasty


def test_a_timestamp_is_utc_with_milliseconds() -> None:
    berlin = timezone(timedelta(hours=2))

    assert (
        format_timestamp(datetime(2025, 6, 1, 1, 2, 3, 456789, berlin))
        == "2025-05-31T23:02:03.456Z"
    )


@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2, max_size=5))
def test_text_order_of_timestamps_is_time_order(moments: list[datetime]) -> None:
    in_order = sorted(moments)

    assert [format_timestamp(one) for one in in_order] == sorted(map(format_timestamp, in_order))


async def test_facts_are_stored_once_and_deleted_on_request(database: Database) -> None:
    facts = Facts(database)
    fact = Fact("a" * 32, "Ann", "the key is under the mat", b"\x00\x01\x02\x03", "2025")

    assert await facts.remember(fact) is True
    assert await facts.remember(fact) is False
    assert await facts.all() == [fact]
    assert await facts.forget([fact.trace_id, "another"]) == 1
    assert await facts.forget([fact.trace_id]) == 0
    assert await facts.all() == []


@given(vector=st.binary(max_size=64), speaker=st.none() | texts, text=texts)
def test_a_fact_survives_its_json_form(vector: bytes, speaker: str | None, text: str) -> None:
    fact = Fact("a" * 32, speaker, text, vector, "2025-03-01T00:00:00.000Z")

    assert Fact.from_dict(fact.as_dict()) == fact


def test_a_fact_whose_vector_is_not_hexadecimal_is_refused() -> None:
    data = {**Fact("a", None, "b", b"", "c").as_dict(), "vector": "zz"}

    with pytest.raises(BadRequest, match="vector"):
        Fact.from_dict(data)
