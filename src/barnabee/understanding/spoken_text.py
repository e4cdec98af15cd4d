"""Sentences for speech from the streamed text of a language model. Pure.

Thoughts (`<think>`), code blocks, Markdown, emoji and the form of URLs are never spoken. The result
does not depend on where the stream is cut into pieces, except for the white space between
sentences.
"""

from __future__ import annotations

import re
import unicodedata

SENTENCE_MAX_CHARS = 300  # a longer one is cut at a comma or a space
_THOUGHT = r"(?:think|thinking|thought|reasoning)"
_MARK = re.compile(
    rf"(?P<open><{_THOUGHT}>)|(?P<close></{_THOUGHT}>)|(?P<fence>```)", re.IGNORECASE
)
_MARK_START = re.compile(r"(?:<[/a-z]{0,10}|`{1,2})\Z", re.IGNORECASE)  # may become a mark
_END_OF_SENTENCE = re.compile(r"[.!?…][\"'\u201d\u2019)\]*_]*\s+|\n+")
_ABBREVIATIONS = frozenset(
    ["dr", "mr", "mrs", "ms", "st", "vs", "prof", "sr", "jr", "no", "approx", "e.g", "i.e", "mt"]
)
_INITIALS = re.compile(r"(?:[A-Za-z]\.)+\Z")
_LIST_NUMBER = re.compile(r"\s*\d{1,3}[.)]\s*\Z")
# The last word of a text that is a sentence whatever follows: "France." but not "3." or "Dr."
_SURE_END = re.compile(
    r"(?:\A|\s)[\"'\u201c\u2018(*_]*[A-Za-z'\u2019-]*(?:[a-z]{3}[.](?<!www\.)|[A-Za-z][!?])\Z"
)

_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
_URL = re.compile(
    r"(?:https?://|www\.(?=[^\W_]))([^\s/?#<>]*)[^\s<>]*?(?=[.,;:!?)\]]*(?:[\s<>]|\Z))",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_BLOCK = re.compile(r"\A\s*(?:#{1,6}\s+|(?:[-*+•]|\d{1,3}[.)])\s+|>+\s*)")
_RULE = re.compile(r"\A[-*_=|:\s]+\Z")
_TIMES = re.compile(r"(?<=\d) ?\* ?(?=\d)")
_EMPHASIS = re.compile(r"\*+|`+|~~+|(?<!\w)_+|_+(?!\w)|\|")
_SPACE_BEFORE_MARK = re.compile(r"\s+(?=[.,;:!?](?:\s|\Z))")
_LEADING_MARKS = re.compile(r"\A[\s.,;:!?)\]…]+")
_FIRST_SYMBOL = 0x2190  # below are letters, digits, punctuation, currencies and the signs of units
_JOINERS = frozenset("\u200b\u200d\u20e3\ufe0e\ufe0f")


class SpokenText:
    """Collects the pieces of an answer and returns its sentences as soon as each is complete."""

    def __init__(self) -> None:
        self._unread = ""  # may end with a part of a mark
        self._text = ""  # outside of thoughts and code, not returned yet
        self._hidden_until = ""  # the kind of mark that ends the hidden text

    def feed(self, piece: str) -> list[str]:
        """Return the sentences that `piece` completes."""
        self._unread += piece
        self._read(is_end=False)
        return self._take_sentences(is_end=False)

    def finish(self) -> list[str]:
        """Return what is left at the end of the answer."""
        self._read(is_end=True)
        return self._take_sentences(is_end=True)

    def _read(self, *, is_end: bool) -> None:
        """Move what is visible from `_unread` to `_text`."""
        while (mark := _MARK.search(self._unread)) is not None:
            kind = str(mark.lastgroup)
            before, self._unread = self._unread[: mark.start()], self._unread[mark.end() :]
            if self._hidden_until:
                self._hidden_until = "" if kind == self._hidden_until else self._hidden_until
            elif kind == "close":  # some chat templates leave out the opening mark
                self._text = ""
            else:
                self._text += before
                self._hidden_until = "close" if kind == "open" else "fence"
        start = None if is_end else _MARK_START.search(self._unread)
        end = start.start() if start else len(self._unread)
        if not self._hidden_until:
            self._text += self._unread[:end]
        self._unread = self._unread[end:]

    def _take_sentences(self, *, is_end: bool) -> list[str]:
        sentences = []
        while (end := _find_end(self._text, is_end=is_end)) is not None:
            sentence, self._text = clean_sentence(self._text[:end]), self._text[end:]
            if sentence:
                sentences.append(sentence)
        return sentences


def clean_sentence(text: str) -> str:
    """Return one sentence without markup; "" when it has no letter or digit."""
    for _ in range(10):  # removing one mark may complete another
        cleaned = _remove_markup(text)
        if cleaned == text:
            break
        text = cleaned
    return text if any(map(str.isalnum, text)) else ""


def _find_end(text: str, *, is_end: bool) -> int | None:
    """Return the length of the first complete sentence of `text`, None without one."""
    for match in _END_OF_SENTENCE.finditer(text):
        if _is_sentence_end(text[: match.end()], text[match.end() :]):
            return match.end()
    if len(text) > SENTENCE_MAX_CHARS:
        head = text[:SENTENCE_MAX_CHARS]
        return max(head.rfind(", ") + 1, 0) or max(head.rfind(" "), 0) or SENTENCE_MAX_CHARS
    if is_end or _SURE_END.search(text):
        return len(text) or None
    return None


def _is_sentence_end(before: str, after: str) -> bool:
    if _LIST_NUMBER.fullmatch(before):
        return False
    if before.endswith("\n"):
        return True
    word = before.rsplit(maxsplit=1)[-1].strip("\"'\u201c\u201d\u2018\u2019()[]*_")
    if word.rstrip(".").lower() in _ABBREVIATIONS and word.endswith("."):
        return False
    return not _INITIALS.fullmatch(word) or after[:1].isupper()


def _remove_markup(text: str) -> str:
    text = _LINK.sub(r"\1", text)
    text = _URL.sub(lambda match: match[1].removeprefix("www.").replace(".", " dot "), text)
    text = _TAG.sub("", text)
    text = "" if _RULE.fullmatch(text) else _BLOCK.sub("", text)
    text = _TIMES.sub(" times ", text)
    text = _EMPHASIS.sub("", text).replace("_", " ")
    text = "".join(map(_clean_character, text))
    text = _SPACE_BEFORE_MARK.sub("", " ".join(text.split()))
    return _LEADING_MARKS.sub("", text)


def _clean_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    is_symbol = ord(character) >= _FIRST_SYMBOL and category in {"So", "Sk", "Cn", "Co"}
    return "" if is_symbol or category == "Cs" or character in _JOINERS else character
