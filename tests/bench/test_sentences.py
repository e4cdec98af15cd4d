"""Time to match a sentence against the templates of all skills."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime

from barnabee.skills import load_skills
from barnabee.understanding.sentence_matcher import SentenceMatcher
from support.benchmark import choose_size, is_at_most

LIMIT_MS = 1
ROUNDS = choose_size(50, 1)
NOW = datetime(2026, 11, 28, 10, tzinfo=UTC)
EXPECTED = {
    "what time is it": "time",
    "set a timer for an hour and a half": "timer_set",
    "remind me to look at the oven tomorrow at half past eight": "reminder_set",
    "add milk, eggs and bread to the shopping list": "list_add",
    "what is a hundred and five minus thirty two": "calculate",
    "how many days until Christmas": "days_until",
    "how many kilos is 180 pounds": "convert_units",
    "remember that the gate code is 1234": "remember",
    "where are the christmas decorations": "note_question",
    "turn on the kitchen light in the evening": None,
}


def test_a_sentence_is_matched_in_a_millisecond() -> None:
    begun = time.perf_counter()
    matcher = SentenceMatcher(load_skills())
    print(f"templates of all skills parsed in {time.perf_counter() - begun:.2f} s")
    medians = {}
    for text, intent in EXPECTED.items():
        durations = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            calls = matcher.match(text, NOW)
            durations.append((time.perf_counter() - begun) * 1000)
        assert intent in {None, *(call.intent for call in calls)}
        medians[text] = statistics.median(durations)
        print(f"{medians[text]:.2f} ms  {text}")
    assert is_at_most(statistics.median(medians.values()), LIMIT_MS)
