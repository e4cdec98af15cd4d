"""Search for private data in the logs of all services that the tests started.

Private data: the secrets of the tests' deployments, and the utterances and replies in their
databases.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SECRET_MIN_CHARS = 8  # shorter ones are words that any line may have
UTTERANCE_MIN_CHARS = 10
DATABASE_MAX_BYTES = 50_000_000  # larger ones were filled with noise
BEGIN_CHARS = 8
WORD_BEGINS = re.compile(r"(?<![\w-])[\w-]")
ENDINGS = (".jsonl", ".log", ".err", ".out")
SECRET_FOLDERS = frozenset({"secrets", "credentials"})
# Servers of other projects, for comparison or in place of Loki.
NOT_OURS = frozenset({"infinity.log", "wyoming.log", "fastkokoro.log", "bridge.log", "qryn.log"})
# Credentials by their form.
PATTERNS = {
    "a bearer token": re.compile(r"Bearer [\w.~+/-]{16,}"),
    "a signed token": re.compile(r"eyJ[\w-]{20,}\.[\w-]+"),
    "a login link": re.compile(r"login\?key=[\w%.-]+"),
}
# Texts of the recordings in tests/audio, which some services transcribe but do not store.
RECORDED_UTTERANCES = ("turn on the kitchen light", "what can you do")


@dataclass(frozen=True)
class Breach:
    """Log file and the kind of private data in it, without the data."""

    log: str
    what: str

    def __str__(self) -> str:
        return f"{self.log}: {self.what}"


def find_breaches(base: Path) -> list[Breach]:
    """Return the private data in the logs below `base`."""
    hidden = TextFinder(dict(list_secrets(base)) | dict(list_utterances(base)))
    return sorted({one for log in list_logs(base) for one in _in(log, base, hidden)}, key=str)


class TextFinder:
    """Searches for many texts at once: load tests leave tens of thousands in hundreds of logs."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._by_begin: dict[str, list[tuple[str, str]]] = {}
        for text, what in texts.items():
            begin = WORD_BEGINS.search(text)
            needle = text[begin.start() :] if begin else ""
            if len(needle) >= BEGIN_CHARS:
                self._by_begin.setdefault(needle[:BEGIN_CHARS], []).append((needle, what))

    def found(self, text: str) -> Iterator[str]:
        """Return the kind of each text that occurs in `text` at the start of a word."""
        for begin in WORD_BEGINS.finditer(text):
            at = begin.start()
            for needle, what in self._by_begin.get(text[at : at + BEGIN_CHARS], ()):
                if text.startswith(needle, at):
                    yield what


def list_logs(base: Path) -> Iterator[Path]:
    """Return the logs of our services."""
    for path in sorted(base.rglob("*")):
        # barnabee.jsonl.3 is a log too; links (pytest's "…current") lead to files seen already
        named = path.name.rstrip("0123456789.").endswith(ENDINGS)
        if named and path.name not in NOT_OURS and path.is_file() and not path.is_symlink():
            yield path


def list_secrets(base: Path) -> Iterator[tuple[str, str]]:
    """Return every secret of a deployment below `base`, and its kind."""
    for path in base.rglob("*"):
        folders = set(path.relative_to(base).parts[:-1])
        if folders & SECRET_FOLDERS and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            if len(text) >= SECRET_MIN_CHARS and "\n" not in text:
                yield text, f"the secret {path.name}"


def list_utterances(base: Path) -> Iterator[tuple[str, str]]:
    """Return every utterance and reply in a database below `base`, and its kind."""
    yield from ((text, "a spoken sentence") for text in RECORDED_UTTERANCES)
    for path in base.rglob("*.db"):
        try:
            if path.stat().st_size > DATABASE_MAX_BYTES:
                continue
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
                for utterance, reply in database.execute("SELECT utterance, reply FROM turns"):
                    yield from _long(utterance, "an utterance")
                    yield from _long(reply, "a reply")
        except (OSError, sqlite3.Error):  # damaged, locked or deleted by the test, or without turns
            continue


def _long(text: str | None, what: str) -> Iterator[tuple[str, str]]:
    if text and len(text) >= UTTERANCE_MIN_CHARS:
        yield text, what


def _in(log: Path, base: Path, hidden: TextFinder) -> Iterator[Breach]:
    text = log.read_text(encoding="utf-8", errors="replace")
    name = str(log.relative_to(base))
    for what in hidden.found(text):
        yield Breach(name, what)
    for what, shape in PATTERNS.items():
        if shape.search(text):
            yield Breach(name, what)
