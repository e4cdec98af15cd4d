"""Selection of fillers."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import system
from barnabee.voice.fillers import Clip, FillerContext, FillerSelector, select_category

LIMITS = system.load_system().filler
CONTEXTS: tuple[FillerContext, ...] = ("answer", "ask")


def clips(kind: str, count: int) -> list[Clip]:
    sound = b"\0\0" * 240
    return [Clip(f"{kind}_{number}", kind, sound, 24_000) for number in range(count)]


def make_selector(counts: Sequence[int] = (5, 4, 2), seed: int = 0) -> FillerSelector:
    kinds = ("acknowledgment", "thinking", "clarification")
    known = {kind: clips(kind, count) for kind, count in zip(kinds, counts, strict=True)}
    return FillerSelector(known, LIMITS, random.Random(seed))  # noqa: S311 - no secret


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
def test_category_thresholds_are_those_of_the_specification(
    estimate_ms: int, expected: str | None
) -> None:
    assert select_category("answer", estimate_ms, LIMITS) == expected


def test_clarifying_question_begins_with_its_filler() -> None:
    chosen = make_selector().select_filler("ask", 0)
    assert chosen is not None
    assert chosen.name in {"clarification_0", "clarification_1"}


def test_phrases_are_those_of_the_specification() -> None:
    assert LIMITS.phrases_by_category() == {
        "acknowledgment": ["Mmhmm", "Got it", "Okay", "Sure thing", "One sec"],
        "thinking": ["Let me check", "Looking into that", "Give me a moment", "Checking now"],
        "clarification": ["Just to make sure", "So you want"],
    }


@given(
    st.lists(st.tuples(st.sampled_from(CONTEXTS), st.integers(0, 5000)), max_size=30),
    st.lists(st.integers(2, 5), min_size=3, max_size=3),
    st.integers(0, 99),
)
def test_filler_is_never_repeated_in_a_row(
    requests: list[tuple[FillerContext, int]], counts: list[int], seed: int
) -> None:
    selector = make_selector(counts, seed)
    last = None
    for context, estimate_ms in requests:
        chosen = selector.select_filler(context, estimate_ms)
        assert (chosen is None) == (select_category(context, estimate_ms, LIMITS) is None)
        if chosen:
            assert chosen.name != last
            last = chosen.name


def test_all_fillers_of_a_category_are_used() -> None:
    selector = make_selector()
    names = {chosen.name for _ in range(200) if (chosen := selector.select_filler("answer", 900))}
    assert names == {f"thinking_{number}" for number in range(4)}


def test_single_recording_is_repeated() -> None:
    selector = make_selector((1, 1, 1))
    assert (
        selector.select_filler("answer", 900) == selector.select_filler("answer", 900) is not None
    )


def test_no_filler_without_recordings() -> None:
    assert FillerSelector({}, LIMITS).select_filler("answer", 900) is None
