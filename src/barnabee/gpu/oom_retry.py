"""Out-of-memory retry: an inference that runs out of memory runs once more after an eviction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from barnabee.core.errors import VramExhausted

T = TypeVar("T")
Evict = Callable[[], Awaitable[None]]
_END = object()

# Only torch has an exception class of its own (its message is the first of these). onnxruntime:
# arena and allocator; CTranslate2: cudaMalloc. Compared in lower case.
_MESSAGES = (
    "out of memory",
    "failed to allocate memory",
    "bad allocation",
    "std::bad_alloc",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


class RunJob(Protocol):
    """Runs a job on the engine's thread; VramExhausted when it runs out of memory."""

    async def __call__(self, job: Callable[[], T]) -> T: ...


def is_out_of_memory(error: BaseException) -> bool:
    message = str(error).lower()
    return isinstance(error, MemoryError) or any(text in message for text in _MESSAGES)


async def run_with_retry(job: Callable[[], T], run: RunJob, evict: Evict) -> T:
    """Run `job`; when it runs out of memory, evict other models and run it once more."""
    try:
        return await run(job)
    except VramExhausted:
        await evict()
        return await run(job)


async def iterate_with_retry(
    make: Callable[[], Iterable[T]], run: RunJob, evict: Evict
) -> AsyncIterator[T]:
    """Yield the items of `make()`, each computed by `run`.

    When a step runs out of memory the iterable is made again and the items yielded already are
    skipped.
    """

    def start() -> Iterator[T]:
        return iter(make())

    async def compute_next(steps: Iterator[T]) -> Any:
        return await run(lambda: next(steps, _END))

    steps = await run_with_retry(start, run, evict)
    yielded = 0
    while True:
        try:
            item = await compute_next(steps)
        except VramExhausted:
            await evict()
            steps = await run(start)
            for _ in range(yielded):
                await compute_next(steps)
            item = await compute_next(steps)
        if item is _END:
            return
        yielded += 1
        yield item
