"""Words and sentences of the Parakeet engine from a transducer's tokens."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.gpu.engines.parakeet import MAX_TOKEN_S, DecodedToken, make_segments


def tokens(*parts: str, step_s: float = 0.24) -> list[DecodedToken]:
    return [DecodedToken(part, number * step_s, -0.1) for number, part in enumerate(parts)]


def segment_texts(*parts: str) -> list[str]:
    return [one.text for one in make_segments(tokens(*parts), 60, words=False)]


def word_texts(*parts: str) -> list[str]:
    return [
        word.text for one in make_segments(tokens(*parts), 60, words=True) for word in one.words
    ]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), []),
        ((" turn", " on"), [" turn", " on"]),
        ((" kit", "ch", "en"), [" kitchen"]),
        (("tur", "n", " on"), [" turn", " on"]),  # first token without a leading blank
        ((" stop", "."), [" stop."]),
        ((" stop", " ."), [" stop."]),  # punctuation with a leading blank
        ((" 2", "0", " °", "C"), [" 20", " °C"]),
        ((" hi", "<unk>", " ", " you"), [" hi", " you"]),
        (("<|en|>", " hi"), [" hi"]),
        ((".",), [" ."]),
    ],
)
def test_tokens_become_words(parts: tuple[str, ...], expected: list[str]) -> None:
    assert word_texts(*parts) == expected


def test_sentences_become_segments() -> None:
    parts = (" Stop", ".", " Turn", " it", " off", "?", " Now")
    assert segment_texts(*parts) == [" Stop.", " Turn it off?", " Now"]
    assert segment_texts(" He", " said", " “", "no", ".", "”", " Good") == [
        " He said “no.”",
        " Good",
    ]


def test_word_ends_at_the_next_one_or_after_the_longest_token() -> None:
    row = [DecodedToken(" a", 1.0, 0), DecodedToken(" b", 1.08, 0), DecodedToken(" c", 3.0, 0)]
    (found,) = make_segments(row, 3.1, words=True)
    assert [(word.start_s, round(word.end_s, 3)) for word in found.words] == [
        (1.0, 1.08),
        (1.08, round(1.08 + MAX_TOKEN_S, 3)),
        (3.0, 3.1),
    ]
    assert (found.start_s, found.end_s) == (1.0, 3.1)


def test_late_punctuation_does_not_extend_a_word() -> None:
    row = [DecodedToken(" stop", 1.0, 0), DecodedToken(".", 4.0, 0)]
    (found,) = make_segments(row, 9.0, words=True)
    assert found.end_s == pytest.approx(1.0 + MAX_TOKEN_S)


def test_confidence_is_the_geometric_mean_of_the_tokens() -> None:
    row = [
        DecodedToken(" a", 0, math.log(0.9)),
        DecodedToken("b", 0.1, math.log(0.4)),
        DecodedToken(" c", 0.2, 0),
    ]
    (found,) = make_segments(row, 1, words=True)
    assert [word.confidence for word in found.words] == pytest.approx([0.6, 1.0])
    assert found.confidence == pytest.approx((0.9 * 0.4) ** (1 / 3))


def test_words_are_returned_on_request_only() -> None:
    assert [one.words for one in make_segments(tokens(" a", " b"), 1, words=False)] == [()]


piece = st.sampled_from([" a", "b", " Stop", ".", "?", " ,", "<unk>", " ", "”", " 20"])


@given(st.lists(st.tuples(piece, st.floats(0, 0.4), st.floats(-9, 0)), max_size=30))
def test_no_text_is_lost_and_times_are_monotonic(rows: list[tuple[str, float, float]]) -> None:
    at_s, row = 0.0, []
    for text, step_s, log in rows:
        at_s += step_s
        row.append(DecodedToken(text, at_s, log))
    found = list(make_segments(row, at_s + 0.1, words=True))
    words = [word for one in found for word in one.words]
    kept = "".join(token.text for token in row if token.text != "<unk>")
    assert "".join(word.text for word in words).replace(" ", "") == kept.replace(" ", "")
    assert all("".join(word.text for word in one.words) == one.text for one in found)
    assert all(word.start_s <= word.end_s for word in words)
    assert all(first.end_s <= later.start_s for first, later in pairwise(words))
    assert all(0 < word.confidence <= 1 for word in words)
