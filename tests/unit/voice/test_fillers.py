"""Which filler is said."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import system
from barnabee.voice.fillers import CATEGORIES, Clip, Context, Fillers, category

LIMITS = system.load().filler
CONTEXTS: tuple[Context, ...] = ("answer", "ask")


def clips(kind: str, count: int) -> list[Clip]:
    sound = b"\0\0" * 240
    return [Clip(f"{kind}_{number}", kind, sound, 24_000) for number in range(count)]


def fillers(counts: Sequence[int] = (5, 4, 2), seed: int = 0) -> Fillers:
    known = {kind: clips(kind, count) for kind, count in zip(CATEGORIES, counts, strict=True)}
    return Fillers(known, LIMITS, random.Random(seed))  # noqa: S311 - nothing secret is drawn here


@pytest.mark.parametrize(
    ("estimate_ms", "expected"),
    [
        (0, None),
        (299, None),
        (300, "acknowledgment"),
        (799, "acknowledgment"),
        (800, "thinking"),
        (60_000, "thinking"),
    ],
)
def test_the_thresholds_are_the_specifications(estimate_ms: int, expected: str | None) -> None:
    assert category("answer", estimate_ms, LIMITS) == expected


def test_asking_back_begins_with_its_own_words() -> None:
    chosen = fillers().select_filler("ask", 0)
    assert chosen is not None
    assert chosen.name in {"clarification_0", "clarification_1"}


def test_the_phrases_are_the_specifications() -> None:
    assert LIMITS.phrases() == {
        "acknowledgment": ["Mmhmm", "Got it", "Okay", "Sure thing", "One sec"],
        "thinking": ["Let me check", "Looking into that", "Give me a moment", "Checking now"],
        "clarification": ["Just to make sure", "So you want"],
    }


@given(
    st.lists(st.tuples(st.sampled_from(CONTEXTS), st.integers(0, 5000)), max_size=30),
    st.lists(st.integers(2, 5), min_size=3, max_size=3),
    st.integers(0, 99),
)
def test_the_last_one_is_never_repeated(
    asked: list[tuple[Context, int]], counts: list[int], seed: int
) -> None:
    one = fillers(counts, seed)
    last = None
    for context, estimate_ms in asked:
        chosen = one.select_filler(context, estimate_ms)
        assert (chosen is None) == (category(context, estimate_ms, LIMITS) is None)
        if chosen:
            assert chosen.name != last
            last = chosen.name


def test_all_of_them_are_used() -> None:
    one = fillers()
    said = {chosen.name for _ in range(200) if (chosen := one.select_filler("answer", 900))}
    assert said == {f"thinking_{number}" for number in range(4)}


def test_a_single_recording_is_repeated_rather_than_left_out() -> None:
    one = fillers((1, 1, 1))
    assert one.select_filler("answer", 900) == one.select_filler("answer", 900) is not None


def test_without_recordings_there_is_silence() -> None:
    assert Fillers({}, LIMITS).select_filler("answer", 900) is None
