"""Batching policy of the embedder: which texts share a call, and when to wait for more. Pure.

Texts that arrive while the engine is busy share the next call. The queue is round-robin, one text
of each request at a time, so a request with many texts does not delay one with few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

# Short sentences on two busy cores, best of 15: 4.9 ms per text alone, 2.2 among 4, 2.0 among 16,
# 1.9 among 32. Calls of 64 gained nothing with 32 clients, and a small call ends sooner.
MAX_TEXTS = 32
MAX_TOKENS = 2048  # eight texts of full length
MAX_TOKENS_PER_TEXT = 256  # the model truncates longer texts
BYTES_PER_TOKEN = 4
WINDOW_S = 0.003
WINDOW_SHARE = 0.5  # of a call's fixed cost, which is all that waiting can save
DECAY = 0.9  # weight of earlier calls after each new one: about the last ten count
MIN_RELATIVE_SPREAD = 0.01  # calls of nearly equal size do not determine the fixed cost


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text from its length, without a tokenizer."""
    return min(MAX_TOKENS_PER_TEXT, len(text.encode()) // BYTES_PER_TOKEN + 2)


@dataclass(frozen=True, slots=True)
class BatchPart:
    """Texts of one request in one call: `key` identifies the request, `indices` its texts."""

    key: int
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CallCosts:
    """Linear fit of call duration (seconds) over size (tokens), recent calls weighted most."""

    calls: float = 0.0
    tokens: float = 0.0
    seconds: float = 0.0
    squares: float = 0.0
    products: float = 0.0

    def with_call(self, tokens: int, run_s: float) -> CallCosts:
        return CallCosts(
            self.calls * DECAY + 1,
            self.tokens * DECAY + tokens,
            self.seconds * DECAY + run_s,
            self.squares * DECAY + tokens * tokens,
            self.products * DECAY + tokens * run_s,
        )

    @property
    def fixed_s(self) -> float:
        """Duration of a call independent of its size; 0 until it can be determined."""
        spread = self.calls * self.squares - self.tokens**2
        if spread <= MIN_RELATIVE_SPREAD * self.calls * self.squares:
            return 0.0
        slope = (self.calls * self.products - self.tokens * self.seconds) / spread
        mean_s = self.seconds / self.calls
        return min(mean_s, max(0.0, mean_s - slope * self.tokens / self.calls))


@dataclass(frozen=True, slots=True)
class LastCall:
    """Number of requests in the last call, and when it ended."""

    requests: int = 0
    ended_s: float = 0.0


def compute_wait_s(requests: int, last: LastCall, fixed_s: float, now_s: float) -> float:
    """Return how long an idle engine should wait for more than the `requests` in the queue.

    Requests served together tend to return together, and one call less saves `fixed_s`:
    milliseconds on a GPU, next to nothing on a CPU. A single client never waits: the result is 0
    after a call for one request, and once the window after any call has passed.
    """
    if requests >= last.requests or last.requests == 1:
        return 0.0
    window_s = min(WINDOW_S, WINDOW_SHARE * fixed_s)
    return max(0.0, last.ended_s + window_s - now_s)


def split_batch(batch: Sequence[BatchPart]) -> tuple[list[BatchPart], list[BatchPart]]:
    """Split a failed batch in two, between requests if it has several, else between texts.

    The second half is empty when the batch is a single text.
    """
    if len(batch) > 1:
        middle = len(batch) // 2
        return list(batch[:middle]), list(batch[middle:])
    (part,) = batch
    middle = (len(part.indices) + 1) // 2
    first, second = part.indices[:middle], part.indices[middle:]
    return [BatchPart(part.key, first)], [BatchPart(part.key, second)] if second else []


@dataclass
class BatchQueue:
    """Round-robin queue of requests and their texts."""

    _order: deque[int] = field(default_factory=deque)
    # texts of each request not yet taken: (tokens, index), the longest first
    _waiting: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def enqueue(self, key: int, tokens: Sequence[int]) -> None:
        """Append a request with the estimated tokens of each of its texts, at least one."""
        # Taken shortest first, so that a call holds texts of similar length and little padding.
        texts = sorted(((count, index) for index, count in enumerate(tokens)), reverse=True)
        self._waiting[key] = texts
        self._order.append(key)

    def remove(self, key: int) -> None:
        """Remove a request, if it is queued."""
        if self._waiting.pop(key, None):
            self._order.remove(key)

    def take_batch(
        self, max_texts: int = MAX_TEXTS, max_tokens: int = MAX_TOKENS
    ) -> list[BatchPart]:
        """Remove and return the texts of the next call, at least one when the queue is not empty.

        A text that does not fit keeps its request at the head of the queue.
        """
        chosen: dict[int, list[int]] = {}
        total = 0
        for _ in range(max_texts):
            if not self._order:
                break
            key = self._order[0]
            texts = self._waiting[key]
            total += texts[-1][0]
            if chosen and total > max_tokens:
                break
            chosen.setdefault(key, []).append(texts.pop()[1])
            self._order.popleft()
            if texts:
                self._order.append(key)
            else:
                del self._waiting[key]
        return [BatchPart(key, tuple(indices)) for key, indices in chosen.items()]
