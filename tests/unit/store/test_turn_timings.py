from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from barnabee.core.errors import BadRequest
from barnabee.store.conversations import Conversations
from barnabee.store.db import Database, open_database
from barnabee.store.turn_timings import TurnTimings, TurnTimingsStore
from support.turn_records import make_turn, make_turn_timings


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await open_database(tmp_path / "barnabee.db")
    yield database
    await database.close()


async def test_timings_are_read_back_as_recorded(database: Database) -> None:
    spoken = make_turn_timings(1)

    assert await TurnTimingsStore(database).record(spoken)
    assert await TurnTimingsStore(database).find([spoken.trace_id]) == {spoken.trace_id: spoken}


async def test_the_first_timings_of_a_turn_are_kept(database: Database) -> None:
    first = make_turn_timings(1)
    await TurnTimingsStore(database).record(first)

    assert not await TurnTimingsStore(database).record(make_turn_timings(1, filler=None))
    assert await TurnTimingsStore(database).find([first.trace_id]) == {first.trace_id: first}


@pytest.mark.parametrize("spoken_first", [True, False])
async def test_timings_may_be_written_before_or_after_the_turn(
    database: Database, spoken_first: bool
) -> None:
    turn, spoken = make_turn(1), make_turn_timings(1)

    async def both() -> None:
        await TurnTimingsStore(database).record(spoken)
        await Conversations(database).record(turn)

    async def reverse() -> None:
        await Conversations(database).record(turn)
        await TurnTimingsStore(database).record(spoken)

    await (both() if spoken_first else reverse())

    assert await Conversations(database).get_turn(turn.trace_id) == turn
    assert await TurnTimingsStore(database).find([turn.trace_id, "f" * 32]) == {
        turn.trace_id: spoken
    }


async def test_no_trace_ids_find_no_timings(database: Database) -> None:
    assert await TurnTimingsStore(database).find([]) == {}


async def test_timings_expire_by_the_time_of_recording(database: Database) -> None:
    for number, day in ((1, "2025-01-01"), (2, "2025-01-02")):
        await TurnTimingsStore(database).record(
            make_turn_timings(number, created_at=f"{day}T00:00:00.000Z")
        )

    assert await TurnTimingsStore(database).expire("2025-01-02T00:00:00.000Z") == 1
    assert list(await TurnTimingsStore(database).find([f"{1:032x}", f"{2:032x}"])) == [f"{2:032x}"]


def test_timings_survive_their_json_form() -> None:
    assert TurnTimings.from_dict(make_turn_timings(1).as_dict()) == make_turn_timings(1)


@pytest.mark.parametrize(
    ("field", "value"), [("room", None), ("stages", []), ("interrupted", 1), ("degraded", "llm")]
)
def test_a_wrong_field_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=f"`{field}`"):
        TurnTimings.from_dict(make_turn_timings(1).as_dict() | {field: value})
