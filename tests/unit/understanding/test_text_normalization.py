"""Text normalization: what is written, and the words that are spoken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabee.understanding.spoken_text import split_sentences
from barnabee.understanding.text_normalization import PAUSE, normalize_text

TABLE = Path(__file__).parents[2] / "data/text_normalization.tsv"
PARTS = [
    *"aB1 .!?\n*_<>/[]()|-\u2013\u2026$\u20ac%\u00b0\u00bd\u00b2:,'\"&@#",
    "5",
    "2026",
    "12:30",
]
PARTS += ["p.m.", "km/h", "kg", "Dr.", "VIII", "BBC", "Nov.", "1/2", "1st", "www.a.de", "a@b.de"]
PARTS += ["[pause:1s]", "❤️", "日本", "e.g."]


def read_table() -> dict[str, list[tuple[str, str]]]:
    """Return the lines (written, spoken) of each section."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            lines = sections.setdefault(line.removeprefix("## "), [])
        else:
            written, spoken = line.split("\t")
            lines.append((written.replace("\\n", "\n"), spoken))
    return sections


SECTIONS = read_table()


def test_the_table_is_long_enough() -> None:
    assert sum(map(len, SECTIONS.values())) >= 300


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_written_becomes_words(section: str) -> None:
    found = {written: normalize_text(written) for written, _ in SECTIONS[section]}
    assert found == dict(SECTIONS[section])


def test_words_stay_as_they_are() -> None:
    spoken = [spoken for lines in SECTIONS.values() for _, spoken in lines]
    assert [normalize_text(words) for words in spoken] == spoken


def test_a_long_number_is_not_torn() -> None:
    text = f"It is {'very ' * 80}large: 1,234,567,890."
    words = "one billion two hundred and thirty-four million five hundred and sixty-seven thousand"
    assert f"{words} eight hundred and ninety." in normalize_text(text)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Smith is here.", ["Dr. Smith is here."]),
        ("at 7 a.m. tomorrow", ["at 7 a.m. tomorrow"]),
        ("It is No. 5. Go!", ["It is No. 5.", "Go!"]),
        ("I said no. Then I left.", ["I said no.", "Then I left."]),
        ('It is 3.5 degrees. Take a coat! "Really?" he said. … ', None),
        ("?!", []),
    ],
)
def test_abbreviations_do_not_end_a_sentence(text: str, sentences: list[str] | None) -> None:
    expected = ["It is 3.5 degrees.", "Take a coat!", '"Really?" he said.']
    assert split_sentences(text) == (expected if sentences is None else sentences)


@settings(deadline=None, max_examples=200)
@given(text=st.lists(st.sampled_from(PARTS), max_size=60).map("".join) | st.text(max_size=200))
def test_no_figure_and_no_markup_is_left(text: str) -> None:
    spoken = PAUSE.sub("", normalize_text(text))
    assert not any(character.isdecimal() and character.isascii() for character in spoken), spoken
    assert not any(mark in spoken for mark in ("**", "`", "://", "❤", "\n", "[", "<")), spoken


@settings(deadline=None, max_examples=30)
@given(text=st.text(max_size=4096) | st.sampled_from(PARTS).map(lambda part: part * 1000))
def test_any_text_is_normalized(text: str) -> None:
    assert len(normalize_text(text[:4096])) <= 100 * (len(text) + 1)
