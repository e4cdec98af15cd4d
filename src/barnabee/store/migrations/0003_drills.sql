-- What each drill found: the newest replica and the newest snapshot, restored and compared.

CREATE TABLE drills (
    id         INTEGER PRIMARY KEY,
    started_at TEXT NOT NULL,    -- 2025-01-31T12:00:00.000Z
    took_ms    INTEGER NOT NULL,
    cpu_ms     INTEGER NOT NULL,
    success    INTEGER NOT NULL, -- 1: everything was restored and is equal
    step       TEXT,             -- where it failed
    code       TEXT,
    reason     TEXT,
    txid       INTEGER NOT NULL, -- of the database it was compared with; 0 = it did not get there
    restore_ms INTEGER NOT NULL, -- fetching and writing the replica
    bytes      INTEGER NOT NULL, -- of the restored database
    rows       INTEGER NOT NULL,
    snapshot   TEXT,             -- the name of the snapshot that was opened
    offsite    INTEGER NOT NULL  -- 1: that snapshot came back from the second place
) STRICT;

CREATE INDEX drills_by_success ON drills (success, id);
