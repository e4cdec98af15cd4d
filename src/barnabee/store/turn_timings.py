"""What the voice measured of a turn: stage times, filler, interruption; in the database.

Joins the turn by trace id and knows nothing of it: either may be written first, and a turn that
failed before there was a command has this alone. Recording it twice changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barnabee.store.conversations import checked, insert
from barnabee.store.db import Database


@dataclass(frozen=True, slots=True)
class Spoken:
    """How a turn was heard and spoken.

    `stages` has for each stage {"at_ms", "took_ms"}; `at_ms` counts from `said_at`, the moment at
    which the person stopped speaking, and is negative for what came before.
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
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spoken:
        """Return what a JSON form says; BadRequest names the field that is missing or wrong."""
        return cls(**checked("spoken turn", data, _FIELDS))


class SpokenTurns:
    """The record of how turns were heard and spoken."""

    def __init__(self, database: Database) -> None:
        """Work on `database`."""
        self._database = database

    async def record(self, spoken: Spoken) -> bool:
        """Keep `spoken`; False when that turn had one already, and then nothing changes."""
        return await self._database.write(lambda connection: insert(connection, "spoken", spoken))

    async def of(self, trace_ids: Sequence[str]) -> dict[str, Spoken]:
        """Return what there is about these turns, by trace id."""
        sql = "SELECT * FROM spoken WHERE trace_id IN (SELECT value FROM json_each(?))"
        wanted = json.dumps(list(trace_ids))
        rows = await self._database.read(lambda db: db.execute(sql, (wanted,)).fetchall())
        return {row["trace_id"]: _spoken(row) for row in rows}

    async def expire(self, before: str) -> int:
        """Forget what was recorded before the time `before`; return how many."""
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


def _spoken(row: sqlite3.Row) -> Spoken:
    fields = dict(row)
    read = {name: json.loads(fields[name]) for name in ("stages", "degraded")}
    return Spoken(**{**fields, **read, "interrupted": bool(fields["interrupted"])})
