from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from barnabee.core.errors import BadRequest
from barnabee.store.conversations import Conversations
from barnabee.store.db import Database, open_database
from barnabee.store.turn_timings import Spoken, SpokenTurns
from support.spoken import make_spoken
from support.turns import make_turn


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await open_database(tmp_path / "barnabee.db")
    yield database
    await database.close()


async def test_what_was_measured_comes_back_as_it_was(database: Database) -> None:
    spoken = make_spoken(1)

    assert await SpokenTurns(database).record(spoken)
    assert await SpokenTurns(database).of([spoken.trace_id]) == {spoken.trace_id: spoken}


async def test_the_first_report_of_a_turn_counts(database: Database) -> None:
    first = make_spoken(1)
    await SpokenTurns(database).record(first)

    assert not await SpokenTurns(database).record(make_spoken(1, filler=None))
    assert await SpokenTurns(database).of([first.trace_id]) == {first.trace_id: first}


@pytest.mark.parametrize("spoken_first", [True, False])
async def test_it_may_be_written_before_the_turn_or_after(
    database: Database, spoken_first: bool
) -> None:
    turn, spoken = make_turn(1), make_spoken(1)

    async def both() -> None:
        await SpokenTurns(database).record(spoken)
        await Conversations(database).record(turn)

    async def reverse() -> None:
        await Conversations(database).record(turn)
        await SpokenTurns(database).record(spoken)

    await (both() if spoken_first else reverse())

    assert await Conversations(database).turn(turn.trace_id) == turn
    assert await SpokenTurns(database).of([turn.trace_id, "f" * 32]) == {turn.trace_id: spoken}


async def test_nothing_is_asked_for_and_nothing_found(database: Database) -> None:
    assert await SpokenTurns(database).of([]) == {}


async def test_it_expires_by_when_it_was_recorded(database: Database) -> None:
    for number, day in ((1, "2025-01-01"), (2, "2025-01-02")):
        await SpokenTurns(database).record(make_spoken(number, created_at=f"{day}T00:00:00.000Z"))

    assert await SpokenTurns(database).expire("2025-01-02T00:00:00.000Z") == 1
    assert list(await SpokenTurns(database).of([f"{1:032x}", f"{2:032x}"])) == [f"{2:032x}"]


def test_its_json_form_is_read_as_it_was_written() -> None:
    assert Spoken.from_dict(make_spoken(1).as_dict()) == make_spoken(1)


@pytest.mark.parametrize(
    ("field", "value"), [("room", None), ("stages", []), ("interrupted", 1), ("degraded", "llm")]
)
def test_a_payload_that_is_none_is_refused_by_the_field(field: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=f"`{field}`"):
        Spoken.from_dict(make_spoken(1).as_dict() | {field: value})
