"""CPU time of text normalization, beside that of the phonemes of the same sentences."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from kokoro_onnx.tokenizer import Tokenizer

from barnabee.understanding.text_normalization import normalize_text
from support.benchmark import choose_size, is_at_most
from support.read_back import read_sentences

ROUNDS = choose_size(10, 1)
LIMIT_MS = 1.0
MAX_RATIO = 2.0
DENSE = (
    "Your alarm is set for 6:45 a.m. on Mon, Nov 30, and it's 21.5 °C in the living room with 45% "
    "humidity."
)


def measure_ms(work: Callable[[str], object], text: str) -> float:
    durations = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        work(text)
        durations.append((time.thread_time() - begun) * 1000)
    return statistics.median(durations)


def test_a_sentence_is_normalized_in_a_millisecond() -> None:
    tokenizer = Tokenizer()
    normalize = normalize_text.__wrapped__
    sentences = [*read_sentences(), DENSE]
    normalized = [measure_ms(normalize, sentence) for sentence in sentences]
    spoken = [measure_ms(tokenizer.phonemize, normalize_text(sentence)) for sentence in sentences]
    ratio = sum(normalized) / sum(spoken)
    print(
        f"normalized in {statistics.mean(normalized):.2f} ms, at most {max(normalized):.2f} ms; "
        f"ratio to the phonemes {ratio:.2f}"
    )
    assert is_at_most(statistics.mean(normalized), LIMIT_MS)
    assert is_at_most(ratio, MAX_RATIO)
