"""Words and sentences out of tokens."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.gpu.engines.tokens import TOKEN_MAX_S, Token, segments


def tokens(*parts: str, step_s: float = 0.24) -> list[Token]:
    return [Token(part, number * step_s, -0.1) for number, part in enumerate(parts)]


def said(*parts: str) -> list[str]:
    return [one.text for one in segments(tokens(*parts), 60, words=False)]


def spoken(*parts: str) -> list[str]:
    return [word.text for one in segments(tokens(*parts), 60, words=True) for word in one.words]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), []),
        ((" turn", " on"), [" turn", " on"]),
        ((" kit", "ch", "en"), [" kitchen"]),
        (("tur", "n", " on"), [" turn", " on"]),  # a first piece without its mark
        ((" stop", "."), [" stop."]),
        ((" stop", " ."), [" stop."]),  # punctuation with a word's mark
        ((" 2", "0", " °", "C"), [" 20", " °C"]),
        ((" hi", "<unk>", " ", " you"), [" hi", " you"]),
        (("<|en|>", " hi"), [" hi"]),
        ((".",), [" ."]),
    ],
)
def test_pieces_become_words(parts: tuple[str, ...], expected: list[str]) -> None:
    assert spoken(*parts) == expected


def test_sentences_become_segments() -> None:
    parts = (" Stop", ".", " Turn", " it", " off", "?", " Now")
    assert said(*parts) == [" Stop.", " Turn it off?", " Now"]
    assert said(" He", " said", " “", "no", ".", "”", " Good") == [" He said “no.”", " Good"]


def test_a_word_ends_where_the_next_begins_but_lasts_no_longer_than_a_token_can() -> None:
    row = [Token(" a", 1.0, 0), Token(" b", 1.08, 0), Token(" c", 3.0, 0)]
    (found,) = segments(row, 3.1, words=True)
    assert [(word.start_s, round(word.end_s, 3)) for word in found.words] == [
        (1.0, 1.08),
        (1.08, round(1.08 + TOKEN_MAX_S, 3)),
        (3.0, 3.1),
    ]
    assert (found.start_s, found.end_s) == (1.0, 3.1)


def test_a_full_stop_after_a_silence_makes_no_word_longer() -> None:
    row = [Token(" stop", 1.0, 0), Token(".", 4.0, 0)]
    (found,) = segments(row, 9.0, words=True)
    assert found.end_s == pytest.approx(1.0 + TOKEN_MAX_S)


def test_confidence_is_the_geometric_mean_over_the_tokens() -> None:
    row = [Token(" a", 0, math.log(0.9)), Token("b", 0.1, math.log(0.4)), Token(" c", 0.2, 0)]
    (found,) = segments(row, 1, words=True)
    assert [word.confidence for word in found.words] == pytest.approx([0.6, 1.0])
    assert found.confidence == pytest.approx((0.9 * 0.4) ** (1 / 3))


def test_words_are_given_only_when_they_are_asked_for() -> None:
    assert [one.words for one in segments(tokens(" a", " b"), 1, words=False)] == [()]


piece = st.sampled_from([" a", "b", " Stop", ".", "?", " ,", "<unk>", " ", "”", " 20"])


@given(st.lists(st.tuples(piece, st.floats(0, 0.4), st.floats(-9, 0)), max_size=30))
def test_nothing_is_lost_times_never_go_backwards(rows: list[tuple[str, float, float]]) -> None:
    at_s, row = 0.0, []
    for text, step_s, log in rows:
        at_s += step_s
        row.append(Token(text, at_s, log))
    found = list(segments(row, at_s + 0.1, words=True))
    words = [word for one in found for word in one.words]
    kept = "".join(token.text for token in row if token.text != "<unk>")
    assert "".join(word.text for word in words).replace(" ", "") == kept.replace(" ", "")
    assert all("".join(word.text for word in one.words) == one.text for one in found)
    assert all(word.start_s <= word.end_s for word in words)
    assert all(first.end_s <= later.start_s for first, later in pairwise(words))
    assert all(0 < word.confidence <= 1 for word in words)
