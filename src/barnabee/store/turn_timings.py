"""Turn timings: what the voice service measured of a turn, in the table `spoken`.

Joined with the turn by trace id; either may be written first, and a turn that failed before there
was a command has timings only. Recording them twice changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barnabee.store.conversations import insert_row, require_fields
from barnabee.store.db import Database


@dataclass(frozen=True, slots=True)
class TurnTimings:
    """Stage times, filler and interruption of one turn.

    `stages` has {"at_ms", "took_ms"} for each stage; `at_ms` counts from `said_at`, when the user
    stopped speaking, and is negative for earlier stages.
    """

    trace_id: str
    room: str
    said_at: str
    stages: dict[str, dict[str, float]]
    engine: str | None
    filler: str | None
    interrupted: bool
    heard: str | None
    degraded: list[str]
    code: str | None
    created_at: str

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TurnTimings:
        """Return the timings in JSON `data`; BadRequest names a missing or wrong field."""
        return cls(**require_fields("spoken turn", data, _FIELDS))


class TurnTimingsStore:
    """Table of turn timings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, timings: TurnTimings) -> bool:
        """Insert `timings`; returns False and changes nothing when the turn has some."""
        return await self._database.write(
            lambda connection: insert_row(connection, "spoken", timings)
        )

    async def find(self, trace_ids: Sequence[str]) -> dict[str, TurnTimings]:
        """Return the timings of those of `trace_ids` that have some, by trace id."""
        sql = "SELECT * FROM spoken WHERE trace_id IN (SELECT value FROM json_each(?))"
        parameter = json.dumps(list(trace_ids))
        rows = await self._database.read(lambda db: db.execute(sql, (parameter,)).fetchall())
        return {row["trace_id"]: _from_row(row) for row in rows}

    async def expire(self, before: str) -> int:
        """Delete timings recorded before the time `before`; return how many."""
        sql = "DELETE FROM spoken WHERE created_at < ?"
        return await self._database.write(lambda db: db.execute(sql, (before,)).rowcount)


_TEXT, _TEXT_OR_NONE = (str,), (str, type(None))
_FIELDS: dict[str, tuple[type, ...]] = {
    "trace_id": _TEXT,
    "room": _TEXT,
    "said_at": _TEXT,
    "stages": (dict,),
    "engine": _TEXT_OR_NONE,
    "filler": _TEXT_OR_NONE,
    "interrupted": (bool,),
    "heard": _TEXT_OR_NONE,
    "degraded": (list,),
    "code": _TEXT_OR_NONE,
    "created_at": _TEXT,
}


def _from_row(row: sqlite3.Row) -> TurnTimings:
    fields = dict(row)
    parsed = {name: json.loads(fields[name]) for name in ("stages", "degraded")}
    return TurnTimings(**{**fields, **parsed, "interrupted": bool(fields["interrupted"])})
