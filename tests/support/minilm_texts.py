"""Texts on which implementations of MiniLM are compared."""

from __future__ import annotations

import tomllib
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
UNUSUAL = (
    "a",
    ".",
    "?!",
    "  padded with blanks  ",
    "UPPER CASE and lower case",
    "12:45 on 2026-03-01, 3.5 °C",
    "Müßiggänger grüßen höflich",
    "你好,厨房的灯",
    "включи свет на кухне",
    "شغل الضوء",
    "🎉🎉 party 🎉",
    "a\u0301e\u0301 combining",
    "line\nbreak\tand tab",
    "supercalifragilisticexpialidocious" * 3,
    "[CLS] [SEP] [MASK]",
    "<script>alert('x')</script>",
)


def read_held_out() -> list[str]:
    table = tomllib.loads((DATA / "intents_heldout.toml").read_text(encoding="utf-8"))

    def strings(found: object) -> list[str]:
        if isinstance(found, str):
            return [found]
        inner = found.values() if isinstance(found, dict) else found
        return [text for one in inner for text in strings(one)]  # type: ignore[attr-defined]

    return strings(table)


def make_texts() -> list[str]:
    """Return sentences, unusual texts, and texts around and far above the token limit."""
    sentences = read_held_out()
    long = [" ".join(sentences[start : start + 60]) for start in range(0, 60, 10)]
    edge = [" ".join(["light"] * count) for count in (253, 254, 255, 400)]
    return [*sentences, *UNUSUAL, *long, *edge]
