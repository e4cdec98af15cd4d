"""Which texts go to the embedder together, and how long a free engine waits for more. Pure.

Texts that came while the engine was busy go in one call when it is free. Everybody in line gets a
turn of one text, then a next one, so a request with many texts holds up nobody with one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

# Short sentences on two busy cores, best of 15: 4.9 ms a text alone, 2.2 among 4, 2.0 among 16, 1.9
# among 32; calls of 64 made no difference to 32 clients. It stays short for whoever comes next.
MAX_TEXTS = 32
MAX_TOKENS = 2048  # eight texts of full length
TEXT_TOKENS = 256  # what the model reads of a text
BYTES_A_TOKEN = 4
WINDOW_S = 0.003
WINDOW_SHARE = 0.5  # of what a call costs whatever is in it: that is all that waiting can save
MEMORY = 0.9  # what the past counts after each call: the last ten or so decide
SPREAD = 0.01  # calls all of one size do not say what a call costs in itself


def weight(text: str) -> int:
    """Return about how many tokens a text has; no tokenizer is asked."""
    return min(TEXT_TOKENS, len(text.encode()) // BYTES_A_TOKEN + 2)


@dataclass(frozen=True, slots=True)
class Part:
    """Texts of one request that go in one call: `key` names the request, `indices` its texts."""

    key: int
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Costs:
    """What the last calls cost: a line through (tokens, seconds), the newest counting most."""

    calls: float = 0.0
    tokens: float = 0.0
    seconds: float = 0.0
    squares: float = 0.0
    products: float = 0.0

    def after(self, tokens: int, took_s: float) -> Costs:
        """Return the costs with one more call."""
        return Costs(
            self.calls * MEMORY + 1,
            self.tokens * MEMORY + tokens,
            self.seconds * MEMORY + took_s,
            self.squares * MEMORY + tokens * tokens,
            self.products * MEMORY + tokens * took_s,
        )

    @property
    def fixed_s(self) -> float:
        """Return what a call takes however few tokens it has; 0 while that is not known."""
        spread = self.calls * self.squares - self.tokens**2
        if spread <= SPREAD * self.calls * self.squares:
            return 0.0
        slope = (self.calls * self.products - self.tokens * self.seconds) / spread
        mean_s = self.seconds / self.calls
        return min(mean_s, max(0.0, mean_s - slope * self.tokens / self.calls))


@dataclass(frozen=True, slots=True)
class Last:
    """The last call: how many requests it served, and when it ended."""

    requests: int = 0
    ended_s: float = 0.0


def wait_s(requests: int, last: Last, fixed_s: float, now_s: float) -> float:
    """Return how long a free engine should wait for more than the `requests` that are there.

    Whoever was served together is likely to come back together, and one call less saves `fixed_s`:
    milliseconds on a card, next to nothing on a CPU. A lone caller is never kept waiting: after a
    call for one, and some time after any call, the answer is 0.
    """
    if requests >= last.requests or last.requests == 1:
        return 0.0
    window_s = min(WINDOW_S, WINDOW_SHARE * fixed_s)
    return max(0.0, last.ended_s + window_s - now_s)


def halve(batch: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    """Return the two halves of a batch that failed: between requests, else between texts.

    What cannot be halved has an empty second half.
    """
    if len(batch) > 1:
        middle = len(batch) // 2
        return list(batch[:middle]), list(batch[middle:])
    (part,) = batch
    middle = (len(part.indices) + 1) // 2
    first, second = part.indices[:middle], part.indices[middle:]
    return [Part(part.key, first)], [Part(part.key, second)] if second else []


@dataclass
class Line:
    """Who waits, in the order of their turns."""

    _turns: deque[int] = field(default_factory=deque)
    # what was not taken yet of each request: (weight, index), the heaviest first
    _waiting: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many requests wait."""
        return len(self._waiting)

    def add(self, key: int, weights: Sequence[int]) -> None:
        """Put a request with at least one text at the end of the line."""
        # Its shortest texts go first, so that those of a call are alike: the rest is padding.
        texts = sorted(((weight, index) for index, weight in enumerate(weights)), reverse=True)
        self._waiting[key] = texts
        self._turns.append(key)

    def drop(self, key: int) -> None:
        """Take a request out of the line, if it is there."""
        if self._waiting.pop(key, None):
            self._turns.remove(key)

    def take(self, max_texts: int = MAX_TEXTS, max_tokens: int = MAX_TOKENS) -> list[Part]:
        """Take the next call's texts out of the line: at least one when somebody waits.

        One text a turn; whoever has more goes to the end. Who does not fit is the first next time.
        """
        chosen: dict[int, list[int]] = {}
        tokens = 0
        for _ in range(max_texts):
            if not self._turns:
                break
            key = self._turns[0]
            left = self._waiting[key]
            tokens += left[-1][0]
            if chosen and tokens > max_tokens:
                break
            chosen.setdefault(key, []).append(left.pop()[1])
            self._turns.popleft()
            if left:
                self._turns.append(key)
            else:
                del self._waiting[key]
        return [Part(key, tuple(indices)) for key, indices in chosen.items()]
