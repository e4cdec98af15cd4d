"""Whether what came back from the voice path can be right: words, sound, length. Pure."""

from __future__ import annotations

import math
import re
import sys
from array import array

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
FULL_SCALE = 32_768.0
# A model may hear one word of a short question wrongly without anybody noticing.
WORD_ERRORS_MAX = 0.34
# Speech goes out at -21 LUFS; what is 30 dB below that is noise.
QUIET_DBFS = -50.0
# Fast readers say 25 characters a second, slow ones 10; pauses around a short answer count too.
SHORTEST_S, LONGEST_S = 0.15, 3.0
CHARACTER_SHORTEST_S, CHARACTER_LONGEST_S = 0.008, 0.4


def word_errors(heard: str, said: str) -> float:
    """Return how many words are wrong, missing or too many, as a share of those that were said."""
    got, wanted = _WORD.findall(heard.lower()), _WORD.findall(said.lower())
    row = list(range(len(got) + 1))
    for number, word in enumerate(wanted, start=1):
        before, row = row, [number]
        for index, other in enumerate(got, start=1):
            same = before[index - 1] + (word != other)
            row.append(min(same, before[index] + 1, row[-1] + 1))
    return row[-1] / max(1, len(wanted))


def level_dbfs(pcm: bytes) -> float:
    """Return the level of 16-bit little-endian mono sound; -inf when there is none."""
    samples = array("h", pcm[: len(pcm) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    power = sum(one * one for one in samples) / max(1, len(samples))
    return 10 * math.log10(power / FULL_SCALE**2) if power else -math.inf


def speech_problem(pcm: bytes, rate_hz: int, text: str) -> tuple[str, str] | None:
    """Return (code, what is wrong) when `pcm` cannot be `text` spoken, None when it can."""
    seconds = len(pcm) / 2 / rate_hz
    shortest_s = max(SHORTEST_S, len(text) * CHARACTER_SHORTEST_S)
    longest_s = LONGEST_S + len(text) * CHARACTER_LONGEST_S
    if not shortest_s <= seconds <= longest_s:
        told = f"{len(text)} characters became {seconds:.2f} s of sound"
        return "speech_length", f"{told}, not {shortest_s:.2f} to {longest_s:.2f}"
    level = level_dbfs(pcm)
    if level < QUIET_DBFS:
        return "speech_silent", f"its level is {level:.0f} dBFS, below {QUIET_DBFS:.0f}"
    return None
