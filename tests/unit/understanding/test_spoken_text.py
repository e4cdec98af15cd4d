"""Sentences for speech from a streamed answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from barnabee.understanding.spoken_text import SpokenText

PARTS = [*"aB1 .!?\n*_`#<>/[]()|-…", "think", "https://", "www.", "❤️", "🌮", "fine"]
TEXT = st.lists(st.sampled_from(PARTS), max_size=60).map("".join)


def clean_for_speech(text: str) -> str:
    spoken = SpokenText()
    return " ".join([*spoken.feed(text), *spoken.finish()])


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("**bold** text", "bold text"),
        ("<think>hm</think>Yes", "Yes"),
        ("<think>\nParis? Yes.\n</think>\n\nParis is it.", "Paris is it."),
        ("The user asks. I say yes.\n</THINK> Yes.", "Yes."),
        ("No end <think> of this", "No end"),
        ("❤️", ""),
        ("Tacos 🌮, please 👍🏽.", "Tacos, please."),
        ("See https://www.example.com/a?b=1.", "See example dot com."),
        ("It begins with www..", "It begins with www.."),
        ("See [the soup](https://example.com/soup?id=1).", "See the soup."),
        ("1. *Pasta* with `pesto`\n2. Tacos\n- Soup", "Pasta with pesto Tacos Soup"),
        ("# Enjoy!\n\n---\n> Now.", "Enjoy! Now."),
        ("Run this:\n```\nrm -rf .\n```\nDone.", "Run this: Done."),
        ("It is 21 °C, 5 € and 3.5 km.", "It is 21 °C, 5 € and 3.5 km."),
        ("2 * 3 is 6.", "2 times 3 is 6."),
        ("<b>Bold</b> and snake_case.", "Bold and snake case."),
        ("a < b and b > c", "a < b and b > c"),
    ],
)
def test_only_what_can_be_spoken_is_left(written: str, spoken: str) -> None:
    assert clean_for_speech(written) == spoken


@pytest.mark.parametrize(
    ("pieces", "sentences"),
    [
        (["Paris is", " the capital."], [[], ["Paris is the capital."]]),
        (["It costs 3.", "5 euros."], [[], ["It costs 3.5 euros."]]),
        (["Dr.", " Who met", " Mr. X. Then", " he"], [[], [], ["Dr. Who met Mr. X."], []]),
        (["At 5 p.m. today", " it rains. I"], [[], ["At 5 p.m. today it rains."]]),
        (["Really?", " Yes"], [["Really?"], []]),
        (
            ["Hi <thi", "nk>secret.", "</thi", "nk>there friend."],
            [[], [], [], ["Hi there friend."]],
        ),
        (["Say ``", "`x = 1. y", "``` well done."], [[], [], ["Say well done."]]),
        (["One\n", "Two\n"], [["One"], ["Two"]]),
    ],
)
def test_a_sentence_is_returned_when_it_is_complete(
    pieces: list[str], sentences: list[list[str]]
) -> None:
    spoken = SpokenText()
    assert [spoken.feed(piece) for piece in pieces] == sentences


def test_a_text_without_an_end_is_cut_at_a_space() -> None:
    sentences = SpokenText().feed("word " * 200)
    assert all(0 < len(sentence) <= 300 for sentence in sentences)
    assert " ".join(sentences).replace(" ", "") in "word" * 200


@settings(deadline=None, max_examples=300)
@given(text=TEXT, cuts=st.lists(st.integers(0, 60), max_size=8))
def test_the_cuts_between_pieces_do_not_change_what_is_spoken(text: str, cuts: list[int]) -> None:
    assume("</" not in text)  # a thought without a beginning is dropped as far as it was not spoken
    spoken = SpokenText()
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    sentences = [
        sentence for begin, end in pairwise(places) for sentence in spoken.feed(text[begin:end])
    ]
    joined = " ".join([*sentences, *spoken.finish()])
    assert _letters(joined) == _letters(clean_for_speech(text))


@settings(deadline=None, max_examples=300)
@given(text=TEXT)
def test_no_markup_is_spoken(text: str) -> None:
    spoken = clean_for_speech(text)
    assert not any(
        mark in spoken.lower() for mark in ("**", "`", "://", "<think>", "❤", "🌮", "\n")
    )


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))
