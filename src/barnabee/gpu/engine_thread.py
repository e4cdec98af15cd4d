"""One engine's thread: jobs wait in line, one runs at a time, never on the event loop.

A supervisor: engines are foreign code and may raise anything, which becomes an error with a code.
The thread is a daemon, because an inference that runs cannot be interrupted and must not keep the
process alive after it was told to stop. Knows no engine.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from barnabee.core.errors import BarnabeeError, DependencyDown, Overloaded, VramExhausted
from barnabee.gpu.engines.memory import ran_out

T = TypeVar("T")
MAX_WAITING = 32

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """What a job returned, how long it waited for its turn, and how long it ran."""

    value: T
    waited_s: float
    took_s: float


class Lane:
    """A line in front of one engine."""

    def __init__(self, name: str, *, max_waiting: int = MAX_WAITING) -> None:
        """Start the thread."""
        self.name = name
        self._max_waiting = max_waiting
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any], float]] = (
            queue.SimpleQueue()
        )
        self._open = 0
        self._count = threading.Lock()
        self._begun: float | None = None
        self._idle = threading.Event()
        self._idle.set()
        threading.Thread(target=self._work, name=f"lane-{name}", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Return whether a job runs right now."""
        return not self._idle.is_set()

    @property
    def running_s(self) -> float:
        """Return how long the job that runs now has been running; 0 when none does."""
        begun = self._begun
        return 0.0 if begun is None else time.perf_counter() - begun

    def wait_idle(self, timeout_s: float) -> bool:
        """Block until no job runs; False when one still does after `timeout_s`."""
        return self._idle.wait(timeout_s)

    async def run(self, job: Callable[[], T]) -> Timed[T]:
        """Run `job` in the thread when its turn comes.

        Raises what the job raises; Overloaded when too many wait. A caller that is cancelled while
        it waits leaves the line; a job that runs is left to end.
        """
        return await asyncio.wrap_future(self.submit(job))

    def submit(self, job: Callable[[], T]) -> Future[Timed[T]]:
        """Put `job` in line; Overloaded when too many wait."""
        if self._open >= self._max_waiting:
            raise Overloaded(what=self.name, retry_after_s=1)
        future: Future[Timed[T]] = Future()
        with self._count:
            self._open += 1
        future.add_done_callback(self._left)
        self._jobs.put((future, job, time.perf_counter()))
        return future

    def _left(self, _future: Future[Any]) -> None:
        with self._count:  # called by whichever thread ends the job
            self._open -= 1

    def _work(self) -> None:
        while True:
            future, job, asked = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            self._idle.clear()
            begun = self._begun = time.perf_counter()
            try:
                value = job()
            except BarnabeeError as error:
                future.set_exception(error)
            except Exception as error:  # a supervisor: whatever an engine raises gets a code here
                if not ran_out(error):
                    log.exception("engine failed", code=DependencyDown.code, engine=self.name)
                future.set_exception(self._named(error))
            else:
                future.set_result(Timed(value, begun - asked, time.perf_counter() - begun))
            finally:
                self._begun = None
                self._idle.set()

    def _named(self, error: Exception) -> BarnabeeError:
        if ran_out(error):
            log.warning("out of memory", code=VramExhausted.code, engine=self.name)
            return VramExhausted(model=self.name, why=str(error))
        return DependencyDown(dependency=self.name, reason=str(error))
