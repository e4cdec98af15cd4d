-- Timers, alarms and reminders. A row that is done is deleted.

CREATE TABLE schedule (
    entry_id    TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,    -- timer, alarm, reminder
    state       TEXT NOT NULL,    -- pending, paused, ringing, missed
    due_at      TEXT NOT NULL,    -- 2025-01-31T12:00:00.000Z
    label       TEXT NOT NULL,
    room        TEXT,
    speaker     TEXT,
    weekdays    INTEGER NOT NULL, -- bit 0 is Monday; 0: once
    remaining_ms INTEGER,         -- of a paused timer
    -- What due_at is derived from. Alarms and reminders: the wall clock of a time zone ('' is the
    -- machine's). Timers: CLOCK_BOOTTIME, while the machine is still in that boot.
    local_at    TEXT,             -- 2025-01-31T07:00:00
    time_zone   TEXT NOT NULL,
    boot_id     TEXT NOT NULL,
    boot_due_ms INTEGER,
    -- The current ring.
    ring_id     TEXT,
    rang_at     TEXT,             -- when it began to ring
    was_late    INTEGER NOT NULL, -- 1: it began long after due_at
    sounded_at  TEXT,             -- when a room was first heard ringing
    silenced_at TEXT,             -- when a user reacted to it
    notified_at TEXT              -- when Home Assistant showed it, because no room was connected
) STRICT, WITHOUT ROWID;

CREATE INDEX schedule_by_state ON schedule (state, due_at);
