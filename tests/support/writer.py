"""A process that writes turns as fast as it is told, and notes each once it is committed.

    python writer.py DATABASE NOTES PER_SECOND

The notes are lines `number time`, flushed after each commit, so that a reader knows what must be in
the database after this process was killed at any moment.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

from barnabee.backup import consistent_copy

LAST = ("s", None, "what was said " * 8, "what was replied", "chat", "[]", "[]", "{}")


def write(database: Path, notes: Path, per_s: float) -> None:
    """Write until killed, going on after what is in the database already."""
    with closing(consistent_copy.connect(database, "rw")) as connection, notes.open("a") as noted:
        found = connection.execute("SELECT max(trace_id) FROM turns").fetchone()[0]
        number = int(found or "0", 16)
        due_s = time.monotonic()
        while True:
            number += 1
            row = (f"{number:032x}", *LAST, "2026-01-31T00:00:00.000Z")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO turns VALUES (?,?,?,?,?,?,?,?,?,?)", row)
            connection.execute("COMMIT")
            noted.write(f"{number} {time.time():.4f}\n")
            noted.flush()
            due_s += 1 / per_s
            time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
