"""Measures how well sentences are understood, with the real model; prints docs/reference tables.

    PYTHONPATH=src python scripts/measure_intents.py [--wrong]

Run it after a change of intents.toml or of the labelled sentences in tests/data, and copy what it
prints into docs/reference/intents.md. `--wrong` lists every sentence that is not understood.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from barnabee.core import system
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.minilm import MiniLm
from barnabee.testing.intents import EvaluationResult, evaluate_sentences, read_labelled_sentences
from barnabee.understanding import facts, intents, lexical_matcher
from barnabee.understanding.intents import IntentDecision, ExampleIndex, Thresholds, decide_intent
from barnabee.understanding.interfaces import KnownFact, Vectors

DATA = Path(__file__).parents[1] / "tests" / "data"
SWEEP = ((500, 400), (550, 450), (600, 500), (650, 550), (700, 600))


def models_dir() -> Path:
    """Return where the models are, as the services find it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("BARNABEE_MODELS") or cache / "barnabee" / "models")


def scores_by_text(
    texts: list[str], embed: Callable[[list[str]], Vectors]
) -> dict[str, dict[str, float]]:
    """Return each sentence's scores by embeddings."""
    known = intents.load_intents()
    index = ExampleIndex(known, embed(intents.list_examples(known)))
    return {text: index.scores(row) for text, row in zip(texts, embed(texts), strict=True)}


def tally(
    sentences: list[tuple[str, str]], scores: dict[str, dict[str, float]], limits: Thresholds
) -> EvaluationResult:
    """Return what becomes of labelled sentences under `limits`."""
    known = intents.load_intents()

    def understood(text: str) -> IntentDecision:
        return decide_intent(scores[text], known, limits)

    return evaluate_sentences(sentences, understood, known)


def recall(name: str, embed: Callable[[list[str]], Vectors], least: float) -> tuple[int, int, int]:
    """Return how many questions are answered rightly, missed, and answered wrongly."""
    table = tomllib.loads((DATA / f"facts_{name}.toml").read_text(encoding="utf-8"))
    rows = embed(table["facts"])
    known = [KnownFact(text, row) for text, row in zip(table["facts"], rows, strict=True)]
    right = missed = wrong = 0
    for question, answer in table["questions"].items():
        found = facts.find_fact(question, embed([question])[0], known, min_score=least)
        said = found.text if found else ""
        right += said == answer
        missed += said != answer and said == ""
        wrong += said not in {answer, ""}
    return right, missed, wrong


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--wrong", action="store_true")
    show_wrong = arguments.parse_args().wrong
    chosen = system.load_system().intent
    model = MiniLm.load(models_dir() / "minilm", device=Device("cpu", 2))

    def embed(texts: list[str]) -> Vectors:
        return np.asarray(model.embed(texts).vectors, dtype=np.float32)

    lexicon = lexical_matcher.LexicalIndex(intents.load_intents())
    for name in ("tuning", "heldout"):
        raw = read_labelled_sentences(DATA / f"intents_{name}.toml")
        sentences = [(label, intents.clean_utterance(text)) for label, text in raw]
        texts = [text for _, text in sentences]
        meaning = scores_by_text(texts, embed)
        by_words = {text: lexicon.scores(text) for text in texts}
        print(f"\n{name}: {len(sentences)} sentences\n")
        heading(tally(sentences, meaning, Thresholds.from_config(chosen)))
        margin = chosen.margin_permille / 1000
        for accept, ask in SWEEP:
            limits = Thresholds(accept / 1000, ask / 1000, margin)
            mark = " *" if accept == chosen.accept_permille else ""
            row(f"embeddings {accept}/{ask}{mark}", tally(sentences, meaning, limits))
        row("words *", tally(sentences, by_words, lexical_matcher.LEXICAL_THRESHOLDS))
        if show_wrong:
            wrong(tally(sentences, meaning, Thresholds.from_config(chosen)))
    for name in ("tuning", "heldout"):
        right, missed, bad = recall(name, embed, chosen.recall_permille / 1000)
        print(f"\nfacts, {name}: {right} questions right, {missed} missed, {bad} answered wrongly")


def heading(one: EvaluationResult) -> None:
    """Print the head of a table."""
    names = list(one.row())
    print("| accept/ask | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))


def row(name: str, one: EvaluationResult) -> None:
    """Print one line of a table."""
    print(f"| {name} | " + " | ".join(f"{share:.1%}" for share in one.row().values()) + " |")


def wrong(one: EvaluationResult) -> None:
    """Print every sentence that was not simply right."""
    print()
    for verdict in one.verdicts:
        if verdict.kind != "right":
            found = f"{verdict.decision.intent} {verdict.decision.score:.2f}"
            print(f"  {verdict.kind:7} {verdict.label:13} {found:18} {verdict.text}")


if __name__ == "__main__":
    main()
