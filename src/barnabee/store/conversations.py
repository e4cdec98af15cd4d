"""Turns (commands and replies) and facts (what users asked to be remembered) in the database.

Both are keyed by trace id, and recording one twice changes nothing: the queue may deliver a job
more than once.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from barnabee.core.errors import BadRequest
from barnabee.store.db import Database

MAX_SEARCH_WORDS = 8
_CONTAINS_WORD = (
    "(utterance || ' ' || reply || ' ' || intent || ' ' || session_id || ' ' || "
    "ifnull(speaker, '') LIKE ? ESCAPE '\\')"
)
_LIKE_SPECIAL = re.compile(r"[\\%_]")


def format_timestamp(moment: datetime) -> str:
    """Return `moment` (with a time zone) as 2025-01-31T12:00:00.000Z; text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One utterance, its reply and actions; `latency_ms` by stage."""

    trace_id: str
    session_id: str
    speaker: str | None
    utterance: str
    reply: str
    intent: str
    actions: list[dict[str, Any]]
    degraded: list[str]
    latency_ms: dict[str, float]
    created_at: str

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TurnRecord:
        """Return the record in JSON `data`; BadRequest names a missing or wrong field."""
        return cls(**require_fields("turn", data, _TURN_FIELDS))


@dataclass(frozen=True, slots=True)
class Fact:
    """A remembered sentence with its embedding (float32, little endian).

    The vector is empty when no embedding could be computed.
    """

    trace_id: str
    speaker: str | None
    text: str
    vector: bytes
    created_at: str

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; the vector is hexadecimal."""
        return {**asdict(self), "vector": self.vector.hex()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fact:
        """Return the fact in JSON `data`; BadRequest names a missing or wrong field."""
        fields = require_fields("fact", data, _FACT_FIELDS)
        try:
            vector = bytes.fromhex(fields["vector"])
        except ValueError as error:
            raise BadRequest(field="fact's `vector`", reason=str(error)) from error
        return cls(**{**fields, "vector": vector})


class Conversations:
    """Table of turns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, turn: TurnRecord) -> bool:
        """Insert `turn`; returns False and changes nothing when its trace id exists."""
        return await self._database.write(lambda connection: insert_row(connection, "turns", turn))

    async def get_turn(self, trace_id: str) -> TurnRecord | None:
        sql = "SELECT * FROM turns WHERE trace_id = ?"
        rows = await self._database.read(lambda db: db.execute(sql, (trace_id,)).fetchall())
        return _from_row(rows[0]) if rows else None

    async def list_turns(
        self,
        limit: int = 50,
        before: str | None = None,
        session_id: str | None = None,
        search: str | None = None,
    ) -> list[TurnRecord]:
        """Return turns, newest first; with `search` those that contain all of its words.

        `before` is a time, or `make_cursor(turn)` of the last turn of a page: then the next page
        starts exactly there, also among turns of the same millisecond.
        """
        moment, _, trace_id = (before or "").partition(" ")
        conditions, values = ["1"], list[str | int]()
        if session_id is not None:
            conditions.append("session_id = ?")
            values.append(session_id)
        for word in (search or "").split()[:MAX_SEARCH_WORDS]:
            conditions.append(_CONTAINS_WORD)
            values.append("%" + _LIKE_SPECIAL.sub(r"\\\g<0>", word) + "%")
        if before is not None:
            conditions.append("(created_at, trace_id) < (?, ?)")
            values += [moment, trace_id]
        sql = (
            f"SELECT turns.* FROM turns WHERE {' AND '.join(conditions)} "  # noqa: S608 - fixed texts
            "ORDER BY created_at DESC, trace_id DESC LIMIT ?"
        )
        values.append(limit)
        rows = await self._database.read(lambda db: db.execute(sql, values).fetchall())
        return [_from_row(row) for row in rows]

    async def expire(self, before: str) -> int:
        """Delete turns older than the time `before`; return how many."""
        sql = "DELETE FROM turns WHERE created_at < ?"
        return await self._database.write(lambda db: db.execute(sql, (before,)).rowcount)


class Facts:
    """Table of facts; they do not expire."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remember(self, fact: Fact) -> bool:
        """Insert `fact`; returns False and changes nothing when its trace id exists."""
        return await self._database.write(lambda connection: insert_row(connection, "facts", fact))

    async def all(self) -> list[Fact]:
        """Return every fact, oldest first."""
        sql = "SELECT * FROM facts ORDER BY created_at, trace_id"
        rows = await self._database.read(lambda db: db.execute(sql).fetchall())
        return [Fact(**dict(row)) for row in rows]

    async def forget(self, trace_ids: Collection[str]) -> int:
        """Delete facts, all or none; return how many there were."""
        sql = "DELETE FROM facts WHERE trace_id IN (SELECT value FROM json_each(?))"
        ids = json.dumps(list(trace_ids))
        return await self._database.write(lambda db: db.execute(sql, (ids,)).rowcount)


def make_cursor(turn: TurnRecord) -> str:
    """Return the position of `turn` for `Conversations.list_turns(before=…)`."""
    return f"{turn.created_at} {turn.trace_id}"


_TEXT, _TEXT_OR_NONE = (str,), (str, type(None))
_TURN_FIELDS: dict[str, tuple[type, ...]] = {
    "trace_id": _TEXT,
    "session_id": _TEXT,
    "speaker": _TEXT_OR_NONE,
    "utterance": _TEXT,
    "reply": _TEXT,
    "intent": _TEXT,
    "actions": (list,),
    "degraded": (list,),
    "latency_ms": (dict,),
    "created_at": _TEXT,
}
_FACT_FIELDS: dict[str, tuple[type, ...]] = {
    "trace_id": _TEXT,
    "speaker": _TEXT_OR_NONE,
    "text": _TEXT,
    "vector": _TEXT,
    "created_at": _TEXT,
}
_JSON_COLUMNS = ("actions", "degraded", "latency_ms")


def require_fields(
    what: str, data: Mapping[str, Any], fields: Mapping[str, tuple[type, ...]]
) -> dict[str, Any]:
    """Return the `fields` of `data`; BadRequest names the first missing or wrong one of `what`."""
    for name, types in fields.items():
        if not isinstance(data.get(name), types):
            raise BadRequest(field=f"{what}'s `{name}`", reason="it is missing or of another type")
    return {name: data[name] for name in fields}


class TableRow(Protocol):
    """A dataclass whose slots are the columns of a table, one of them `trace_id`."""

    __slots__: tuple[str, ...]


def insert_row(connection: sqlite3.Connection, table: str, row: TableRow) -> bool:
    """Insert `row` unless its trace id exists; return whether it was inserted."""
    values = [_to_column(getattr(row, name)) for name in row.__slots__]
    marks = ", ".join("?" * len(values))
    sql = f"INSERT INTO {table} ({', '.join(row.__slots__)}) VALUES ({marks}) "  # noqa: S608
    return connection.execute(sql + "ON CONFLICT (trace_id) DO NOTHING", values).rowcount > 0


def _to_column(value: Any) -> Any:
    if isinstance(value, str):  # SQLite cannot store a lone surrogate; it becomes "?"
        return value.encode("utf-8", "replace").decode()
    return json.dumps(value) if isinstance(value, list | dict) else value


def _from_row(row: sqlite3.Row) -> TurnRecord:
    fields = dict(row)
    return TurnRecord(**{**fields, **{name: json.loads(fields[name]) for name in _JSON_COLUMNS}})
