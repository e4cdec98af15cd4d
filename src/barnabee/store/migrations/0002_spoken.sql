-- What the voice measured of a turn. By trace id like the turn itself, and without a reference to
-- it, because either may be written first.

CREATE TABLE spoken (
    trace_id    TEXT PRIMARY KEY,
    room        TEXT NOT NULL,
    said_at     TEXT NOT NULL,    -- when the person stopped speaking, by the voice's clock
    stages      TEXT NOT NULL,    -- JSON object: stage -> {"at_ms", "took_ms"}, from said_at
    engine      TEXT,             -- what heard
    filler      TEXT,             -- which phrase bridged the wait
    interrupted INTEGER NOT NULL, -- 1: somebody talked into the reply
    heard       TEXT,             -- of the reply, up to the interruption
    degraded    TEXT NOT NULL,    -- JSON list
    code        TEXT,             -- why it failed, if it did
    created_at  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX spoken_by_time ON spoken (created_at);
