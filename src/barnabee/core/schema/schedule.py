"""Table for timers, alarms and reminders."""

from __future__ import annotations

from barnabee.core.schema.services import Count, Seconds, TomlTable


class ScheduleConfig(TomlTable):
    """How long timers, alarms and reminders ring, and what happens when they are not heard."""

    ring_for_s: Seconds  # not stopped by then: missed, reported at the next command in the room
    louder_after_s: Seconds  # the chime gets louder after this and twice this time
    late_s: Seconds  # a ring later than this says that it is late
    too_late_s: Seconds  # what was due longer ago does not ring and is reported as missed
    snooze_minutes: Count
    announce_within_s: Seconds  # how long an announcement waits for a conversation to end
