"""Intent recognition accuracy with the real model: prints the tables of docs/reference.

    PYTHONPATH=src:tests python scripts/measure_intents.py [--wrong]

Run it after a change of intents.toml or of the labelled sentences in tests/data, and copy the
output into docs/reference/intents.md. `--wrong` lists every sentence with a wrong result.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from barnabee.core import system
from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.minilm import MiniLm
from barnabee.understanding import intent_recognizer
from barnabee.understanding.intent_recognizer import (
    ExampleIndex,
    IntentDecision,
    Thresholds,
    decide_intent,
)
from barnabee.understanding.interfaces import KnownFact, Vectors
from barnabee.understanding.note_subjects import choose_similar, find_loosely, find_notes
from barnabee.understanding.utterance import clean_utterance
from support.intent_evaluation import EvaluationResult, evaluate_sentences, read_labelled_sentences

DATA = Path(__file__).parents[1] / "tests" / "data"
SWEEP = ((500, 400), (550, 450), (600, 500), (650, 550), (700, 600))


def models_dir() -> Path:
    """Return the models' directory, as the services do."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("BARNABEE_MODELS") or cache / "barnabee" / "models")


def compute_scores(
    texts: list[str], embed: Callable[[list[str]], Vectors]
) -> dict[str, dict[str, float]]:
    """Return the intent scores of each sentence by embeddings."""
    known = intent_recognizer.load_intents()
    index = ExampleIndex(known, embed(intent_recognizer.list_examples(known)))
    return {text: index.scores(row) for text, row in zip(texts, embed(texts), strict=True)}


def evaluate_limits(
    sentences: list[tuple[str, str]], scores: dict[str, dict[str, float]], limits: Thresholds
) -> EvaluationResult:
    """Return the evaluation of labelled sentences with `limits`."""
    known = intent_recognizer.load_intents()

    def decide(text: str) -> IntentDecision:
        return decide_intent(scores[text], known, limits)

    return evaluate_sentences(sentences, decide, known)


def measure_recall(name: str, embed: Callable[[list[str]], Vectors]) -> tuple[int, int, int]:
    """Return how many questions about notes are right, missed and wrong."""
    table = tomllib.loads((DATA / f"facts_{name}.toml").read_text(encoding="utf-8"))
    rows = embed(table["facts"])
    known = [KnownFact(text, row) for text, row in zip(table["facts"], rows, strict=True)]
    right = missed = wrong = 0
    for question, answer in table["questions"].items():
        found = find_notes(question, known) or choose_similar(
            embed([question])[0], find_loosely(question, known)
        )
        reply = found[0].text if found else ""
        right += reply == answer
        missed += reply != answer and reply == ""
        wrong += reply not in {answer, ""}
    return right, missed, wrong


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--wrong", action="store_true")
    show_wrong = arguments.parse_args().wrong
    chosen = system.load_system().intent
    model = MiniLm.load(models_dir() / "minilm", device=Device("cpu", 2))

    def embed(texts: list[str]) -> Vectors:
        return np.asarray(model.embed(texts).vectors, dtype=np.float32)

    lexicon = intent_recognizer.LexicalIndex(intent_recognizer.load_intents())
    for name in ("tuning", "heldout"):
        raw = read_labelled_sentences(DATA / f"intents_{name}.toml")
        sentences = [(label, clean_utterance(text)) for label, text in raw]
        texts = [text for _, text in sentences]
        meaning = compute_scores(texts, embed)
        by_words = {text: lexicon.scores(text) for text in texts}
        print(f"\n{name}: {len(sentences)} sentences\n")
        print_heading(evaluate_limits(sentences, meaning, Thresholds.from_config(chosen)))
        margin = chosen.margin_permille / 1000
        for accept, ask in SWEEP:
            limits = Thresholds(accept / 1000, ask / 1000, margin)
            mark = " *" if accept == chosen.accept_permille else ""
            print_row(
                f"embeddings {accept}/{ask}{mark}", evaluate_limits(sentences, meaning, limits)
            )
        print_row(
            "words *", evaluate_limits(sentences, by_words, intent_recognizer.LEXICAL_THRESHOLDS)
        )
        if show_wrong:
            print_wrong(evaluate_limits(sentences, meaning, Thresholds.from_config(chosen)))
    for name in ("tuning", "heldout"):
        right, missed, bad = measure_recall(name, embed)
        print(f"\nnotes, {name}: {right} questions right, {missed} missed, {bad} answered wrongly")


def print_heading(result: EvaluationResult) -> None:
    names = list(result.row())
    print("| accept/ask | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))


def print_row(name: str, result: EvaluationResult) -> None:
    print(f"| {name} | " + " | ".join(f"{share:.1%}" for share in result.row().values()) + " |")


def print_wrong(result: EvaluationResult) -> None:
    """Print every sentence with a wrong result."""
    print()
    for verdict in result.verdicts:
        if verdict.kind != "right":
            decision = f"{verdict.decision.intent} {verdict.decision.score:.2f}"
            print(f"  {verdict.kind:7} {verdict.label:13} {decision:18} {verdict.text}")


if __name__ == "__main__":
    main()
