-- What was said and done, and what the family asked to have remembered.

CREATE TABLE turns (
    trace_id   TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    speaker    TEXT,
    utterance  TEXT NOT NULL,
    reply      TEXT NOT NULL,
    intent     TEXT NOT NULL,
    actions    TEXT NOT NULL, -- JSON list
    degraded   TEXT NOT NULL, -- JSON list
    latency_ms TEXT NOT NULL, -- JSON object: stage -> milliseconds
    created_at TEXT NOT NULL  -- 2025-01-31T12:00:00.000Z, so that text order is time order
) STRICT, WITHOUT ROWID;

CREATE INDEX turns_by_time ON turns (created_at, trace_id);
CREATE INDEX turns_by_session ON turns (session_id, created_at, trace_id);

CREATE TABLE facts (
    trace_id   TEXT PRIMARY KEY,
    speaker    TEXT,
    text       TEXT NOT NULL,
    vector     BLOB NOT NULL, -- float32, little endian
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
