"""Answers to a question of the assistant: yes or no."""

from __future__ import annotations

import re

_YES = re.compile(
    r"(?:yes|yeah|yep|yup|aye|sure|of course|correct|right|exactly|absolutely|certainly|please"
    r"|ok|okay|do it|do that|go ahead|please do|go on|that's right|i'm sure|i am sure"
    r"|confirm|definitely)"
)
_NO = re.compile(
    r"(?:no|nope|nah|not now|don't|do not|please don't|never mind|nevermind|cancel|stop|forget it"
    r"|leave it|better not|rather not|no way|neither|none)"
)
_FILLING = re.compile(r"\b(?:um|uh|er|well|oh|please|thanks|thank you|then|barnabee|i think)\b")


def parse_yes_no(text: str) -> bool | None:
    """Return whether `text` says yes or no, None if it says something else."""
    said = " ".join(re.findall(r"[\w']+", text.lower().replace("\u2019", "'")))
    short = " ".join(_FILLING.sub(" ", said).split()) or said
    if re.fullmatch(rf"{_YES.pattern}(?: {_YES.pattern})*", short):
        return True
    return False if re.fullmatch(rf"{_NO.pattern}(?: {_NO.pattern})*", short) else None
