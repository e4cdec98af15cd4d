"""Process that writes turns at a given rate and logs each one after its commit.

    python turn_writer.py DATABASE LOG PER_SECOND

The log has lines `number time`, flushed after each commit, so that a test knows what must be in the
database after this process was killed.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

from barnabee.backup import consistent_copy

LAST = ("s", None, "what was said " * 8, "what was replied", "chat", "[]", "[]", "{}")


def write_turns(database: Path, log: Path, per_s: float) -> None:
    """Write until killed, continuing after the last turn in the database."""
    with (
        closing(consistent_copy.connect_live(database, "rw")) as connection,
        log.open("a") as log_file,
    ):
        found = connection.execute("SELECT max(trace_id) FROM turns").fetchone()[0]
        number = int(found or "0", 16)
        due_s = time.monotonic()
        while True:
            number += 1
            row = (f"{number:032x}", *LAST, "2026-01-31T00:00:00.000Z")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO turns VALUES (?,?,?,?,?,?,?,?,?,?)", row)
            connection.execute("COMMIT")
            log_file.write(f"{number} {time.time():.4f}\n")
            log_file.flush()
            due_s += 1 / per_s
            time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    write_turns(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
