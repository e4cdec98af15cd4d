"""Words of a synthesized text read back by speech recognition, and the errors between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import httpx

from barnabee.understanding.text_normalization import PAUSE, normalize_text
from support.gpu import synthesize

SENTENCES = Path(__file__).parents[1] / "data/spoken_sentences.txt"
MAX_WORD_ERROR_RATE = 0.03

# Two spellings of what sounds the same.
_SAME = {"okay": "ok", "missis": "misses", "missus": "misses", "alright": "right", "gray": "grey"}
_SAME |= {"ms": "miz", "doorbell": "door bell", "onto": "on to", "litre": "liter", "zero": "oh"}


def split_spoken_words(text: str) -> list[str]:
    """Return the words of a text as they are spoken: "7:30" and "seven thirty" are the same."""
    words = re.findall(r"[a-z']+", PAUSE.sub(" ", normalize_text(text)).lower().replace("-", " "))
    return " ".join(_SAME.get(word, word) for word in words).split()


def count_word_errors(expected: Sequence[str], heard: Sequence[str]) -> int:
    """Return the number of inserted, deleted and replaced words."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(expected, start=1):
        last, row[0] = row[0], number
        for column, other in enumerate(heard, start=1):
            last, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, last + (word != other)),
            )
    return row[-1]


def measure_word_error_rate(http: httpx.Client, sentences: Sequence[str]) -> float:
    """Return the share of wrong words of the sentences that the service speaks and transcribes."""
    errors = words = 0
    for sentence in sentences:
        files = {"file": ("speech.wav", synthesize(http, sentence), "audio/wav")}
        form = {"model": "whisper-1", "language": "en"}
        response = http.post("/v1/audio/transcriptions", data=form, files=files)
        heard = str(response.raise_for_status().json()["text"])
        expected = split_spoken_words(sentence)
        # Whisper may write 7:30 as 730.
        readings = (heard, re.sub(r"\b(\d{1,2})([0-5]\d)\b", r"\1:\2", heard))
        wrong = min(count_word_errors(expected, split_spoken_words(one)) for one in readings)
        errors, words = errors + wrong, words + len(expected)
        if wrong:
            print(f"{wrong} of {len(expected)} words: {' '.join(expected)} | {heard}")
    print(f"{errors} of {words} words of {len(sentences)} sentences are wrong")
    return errors / words


def read_sentences() -> list[str]:
    return SENTENCES.read_text(encoding="utf-8").splitlines()
