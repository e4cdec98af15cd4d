"""How the two machines are, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from barnabee.core.schema import Standby
from barnabee.standby import divergence

_DOES = {
    "hold": "writes and replicates",
    "serve": "answers; what is to be kept waits in the queue, because it does not hold the lease",
    "follow": "follows",
    "": "waits",
}


def set_aside(database: Path) -> list[dict[str, Any]]:
    """Return the folders with databases that were set aside, and the rows only they have."""
    found = []
    for folder in sorted(database.parent.glob(f"{database.name}.before-restore-*")):
        try:
            rows = json.loads((folder / divergence.FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            rows = None
        found.append({"folder": str(folder), "unreplicated": rows})
    return found


def lines(found: Mapping[str, Any], table: Standby) -> Iterator[str]:
    """Yield what a person wants to know, most important first."""
    holder = found.get("holder")
    yield f"lease     {f'held by {holder}' if holder else 'held by nobody'}, line {found['line']}"
    shown = next((sign for sign in ("hold", "serve", "follow") if sign in found["signs"]), "")
    left = f", {found['left_s']} s to the end of its lease" if found["left_s"] else ""
    yield f"here      {found['host']} {_DOES[shown]} (it is to {found['wish']}){left}"
    if not found["heard"]:
        yield f"store     does not answer: {found['reason']}"
    copied = found.get("follow") or {}
    if copied and shown == "follow":
        at = datetime.fromtimestamp(copied["at"], UTC)
        age = f"looked at {at:%H:%M:%S} UTC, every {table.follow_s} s"
        yield f"copy      line {copied['line']}, transaction {copied['txid']}, {age}"
    if found["aside"]:
        yield "address   left to the other machine"
    for one in found["set_aside"]:
        yield f"set aside {one['folder']}: {_named(one['unreplicated'])}"


def _named(rows: Mapping[str, list[str]] | None) -> str:
    if rows is None:
        return "not compared"
    if not any(rows.values()):
        return "every row is in the database that replaced it"
    return ", ".join(f"{len(ids)} {table} that are nowhere else" for table, ids in rows.items())
