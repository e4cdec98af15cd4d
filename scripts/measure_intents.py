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
from barnabee.testing.intents import Tally, judge, labelled
from barnabee.understanding import facts, intent_examples, lexical_matcher
from barnabee.understanding.intent_index import Decision, Index, Thresholds, decide
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
    known = intent_examples.intents()
    index = Index(known, embed(intent_examples.sentences(known)))
    return {text: index.scores(row) for text, row in zip(texts, embed(texts), strict=True)}


def tally(
    sentences: list[tuple[str, str]], scores: dict[str, dict[str, float]], limits: Thresholds
) -> Tally:
    """Return what becomes of labelled sentences under `limits`."""
    known = intent_examples.intents()

    def understood(text: str) -> Decision:
        return decide(scores[text], known, limits)

    return judge(sentences, understood, known)


def recall(name: str, embed: Callable[[list[str]], Vectors], least: float) -> tuple[int, int, int]:
    """Return how many questions are answered rightly, missed, and answered wrongly."""
    table = tomllib.loads((DATA / f"facts_{name}.toml").read_text(encoding="utf-8"))
    rows = embed(table["facts"])
    known = [KnownFact(text, row) for text, row in zip(table["facts"], rows, strict=True)]
    right = missed = wrong = 0
    for question, answer in table["questions"].items():
        found = facts.nearest(question, embed([question])[0], known, least=least)
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
    chosen = system.load().intent
    model = MiniLm.load(models_dir() / "minilm", device=Device("cpu", 2))

    def embed(texts: list[str]) -> Vectors:
        return np.asarray(model.embed(texts).vectors, dtype=np.float32)

    lexicon = lexical_matcher.Lexicon(intent_examples.intents())
    for name in ("tuning", "heldout"):
        raw = labelled(DATA / f"intents_{name}.toml")
        sentences = [(label, intent_examples.tidy(text)) for label, text in raw]
        texts = [text for _, text in sentences]
        meaning = scores_by_text(texts, embed)
        by_words = {text: lexicon.scores(text) for text in texts}
        print(f"\n{name}: {len(sentences)} sentences\n")
        heading(tally(sentences, meaning, Thresholds.of(chosen)))
        margin = chosen.margin_permille / 1000
        for accept, ask in SWEEP:
            limits = Thresholds(accept / 1000, ask / 1000, margin)
            mark = " *" if accept == chosen.accept_permille else ""
            row(f"embeddings {accept}/{ask}{mark}", tally(sentences, meaning, limits))
        row("words *", tally(sentences, by_words, lexical_matcher.LIMITS))
        if show_wrong:
            wrong(tally(sentences, meaning, Thresholds.of(chosen)))
    for name in ("tuning", "heldout"):
        right, missed, bad = recall(name, embed, chosen.recall_permille / 1000)
        print(f"\nfacts, {name}: {right} questions right, {missed} missed, {bad} answered wrongly")


def heading(one: Tally) -> None:
    """Print the head of a table."""
    names = list(one.row())
    print("| accept/ask | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))


def row(name: str, one: Tally) -> None:
    """Print one line of a table."""
    print(f"| {name} | " + " | ".join(f"{share:.1%}" for share in one.row().values()) + " |")


def wrong(one: Tally) -> None:
    """Print every sentence that was not simply right."""
    print()
    for verdict in one.verdicts:
        if verdict.kind != "right":
            found = f"{verdict.decision.intent} {verdict.decision.score:.2f}"
            print(f"  {verdict.kind:7} {verdict.label:13} {found:18} {verdict.text}")


if __name__ == "__main__":
    main()
