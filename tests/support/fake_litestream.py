"""Fake litestream whose restores are intact databases without the last turn.

A test installs it with LITESTREAM replaced by the path of the real program.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys

status = subprocess.call(["LITESTREAM", *sys.argv[1:]])
if sys.argv[1] == "restore" and status == 0:
    with sqlite3.connect(sys.argv[sys.argv.index("-o") + 1]) as database:
        database.execute("DELETE FROM turns WHERE trace_id = (SELECT max(trace_id) FROM turns)")
        database.commit()
        database.execute("PRAGMA journal_mode = DELETE")
sys.exit(status)
