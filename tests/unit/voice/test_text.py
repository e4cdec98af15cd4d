from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.voice.text import Piece, addressed, heard_up_to, sentences


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ("Hey Jarvis, turn on the light.", "turn on the light."),
        ("jarvis turn on the light", "turn on the light"),
        (" Turn on the light.", "Turn on the light."),
        ("Hey, Jarvis!", ""),
        ("Jarvis", ""),
        ("...", ""),
        ("", ""),
        ("Tell Jarvis a joke", "Tell Jarvis a joke"),
        ("Jarvisson is here", "Jarvisson is here"),
    ],
)
def test_the_word_that_woke_us_is_not_part_of_what_was_said(heard: str, said: str) -> None:
    assert addressed(heard, ["hey_jarvis"]) == said


def test_a_reply_is_spoken_sentence_by_sentence() -> None:
    text = 'It is 3.5 degrees. Take a coat! "Really?" he said. … '
    assert sentences(text) == ["It is 3.5 degrees.", "Take a coat!", '"Really?"', "he said."]
    assert sentences("?!") == []


def test_what_was_heard_is_known_to_the_word() -> None:
    first = Piece("The kitchen light is on.", made_s=2.0, played_s=2.0, whole=True)
    second = Piece("Anything else for you?", made_s=2.0, played_s=1.0, whole=True)
    third = Piece("Good night.")
    assert heard_up_to([first, second, third]) == "The kitchen light is on. Anything"


def test_a_sentence_of_which_the_end_is_not_there_yet_was_not_heard_whole() -> None:
    assert Piece("The kitchen light is on.", made_s=0.2, played_s=0.2).heard() == ""
    assert Piece("The kitchen light is on.", made_s=0.8, played_s=0.8).heard() == "The kitchen"


@given(st.text("ab .", max_size=60), st.floats(0, 9), st.floats(0, 9), st.booleans())
def test_what_was_heard_is_a_beginning(text: str, made: float, share: float, whole: bool) -> None:
    piece = Piece(text.strip(), made, min(made, share), whole)
    assert piece.text.startswith(piece.heard())
