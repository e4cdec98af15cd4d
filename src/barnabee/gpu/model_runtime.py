"""Model runtime: one model, the engine that runs it and the thread the engine runs on.

Loads and unloads when the VRAM manager says so. Knows engines only by their protocols.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

import structlog

from barnabee.core.errors import (
    BarnabeeError,
    DependencyDown,
    EngineStuck,
    Overloaded,
    StillLoading,
    VramExhausted,
)
from barnabee.gpu.engines.base import Engine
from barnabee.gpu.oom_retry import is_out_of_memory

E = TypeVar("E", bound=Engine)
T = TypeVar("T")
MAX_QUEUED_JOBS = 32

log = structlog.get_logger()


class RuntimeState(StrEnum):
    """State of a model's engine, as `GET /v1/models` reports it."""

    ABSENT = "absent"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class TimedResult(Generic[T]):
    """Result of a job, the time it waited in the queue and the time it ran."""

    value: T
    waited_s: float
    run_s: float


@dataclass
class ModelRuntime(Generic[E]):
    """A model and its engine; jobs run one at a time on the engine's own thread."""

    task: str
    model_id: str  # folder of its files and id in the API
    make_engine: Callable[[], E]
    name: str = ""  # in system.toml; defaults to `model_id`
    inference_limit_s: float = 30.0  # a longer inference makes the engine STUCK
    error: BarnabeeError | None = None
    _thread: EngineThread = field(init=False, repr=False)
    _engine: E | None = None
    _loading: bool = False

    def __post_init__(self) -> None:
        self.name = self.name or self.model_id
        self._thread = EngineThread(self.model_id)

    @property
    def state(self) -> RuntimeState:
        if self._loading:
            return RuntimeState.LOADING
        if self.running_s > self.inference_limit_s:
            return RuntimeState.STUCK
        if self._engine is not None:
            return RuntimeState.READY
        return RuntimeState.FAILED if self.error else RuntimeState.ABSENT

    @property
    def is_busy(self) -> bool:
        return self._thread.is_busy

    @property
    def running_s(self) -> float:
        """Time the current job has been running; 0 when the engine is idle."""
        return self._thread.running_s

    def require_engine(self) -> E:
        """Return the engine; raises Loading, EngineStuck, or the error its load failed with."""
        if self.state is RuntimeState.STUCK:
            raise EngineStuck(engine=self.model_id, limit_ms=round(self.inference_limit_s * 1000))
        if self._engine is not None:
            return self._engine
        raise self.error or StillLoading(what=self.model_id, retry_after_s=1)

    def submit(self, job: Callable[[], T]) -> Future[TimedResult[T]]:
        """Queue `job` for the engine's thread; Overloaded when too many jobs wait."""
        return self._thread.submit(job)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Block until no job runs; False when one still runs after `timeout_s`."""
        return self._thread.wait_until_idle(timeout_s)

    async def load(self) -> float:
        """Load the engine and run one inference; return the seconds both took."""
        self._loading = True
        try:
            result = await self._thread.run(self._make_and_warm_up)
        except BarnabeeError as error:
            if self.error is None or str(self.error) != str(error):
                # No traceback: the message says what to do.
                log.error(  # noqa: TRY400
                    "model failed", code=error.code, engine=self.model_id, message=str(error)
                )
            self.error = error
            raise
        finally:
            self._loading = False
        self._engine, self.error = result.value, None
        return result.run_s

    async def unload(self) -> None:
        """Close the engine and release its memory; the engine stays loaded if closing raises."""
        engine = self._engine
        if engine is None:
            return
        await self._thread.run(engine.close)
        self._engine = None
        del engine
        await self._thread.run(release_pooled_memory)

    def _make_and_warm_up(self) -> E:
        engine = self.make_engine()
        engine.warm_up()
        return engine


class EngineThread:
    """Job queue and thread of one engine.

    A supervisor: whatever a library raises becomes an error with a code. The thread is a daemon,
    because a running inference cannot be interrupted and must not keep the process alive.
    """

    def __init__(self, name: str, *, max_jobs: int = MAX_QUEUED_JOBS) -> None:
        self.name = name
        self._max_jobs = max_jobs
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any], float]] = (
            queue.SimpleQueue()
        )
        self._unfinished = 0
        self._unfinished_lock = threading.Lock()
        self._started_s: float | None = None
        self._idle = threading.Event()
        self._idle.set()
        threading.Thread(target=self._work, name=f"engine-{name}", daemon=True).start()

    @property
    def is_busy(self) -> bool:
        return not self._idle.is_set()

    @property
    def running_s(self) -> float:
        started_s = self._started_s
        return 0.0 if started_s is None else time.perf_counter() - started_s

    def wait_until_idle(self, timeout_s: float) -> bool:
        return self._idle.wait(timeout_s)

    async def run(self, job: Callable[[], T]) -> TimedResult[T]:
        """Run `job` when its turn comes; raises what it raises, Overloaded when the queue is full.

        Cancelling the caller removes a job that still waits; a running job is left to end.
        """
        return await asyncio.wrap_future(self.submit(job))

    def submit(self, job: Callable[[], T]) -> Future[TimedResult[T]]:
        if self._unfinished >= self._max_jobs:
            raise Overloaded(what=self.name, retry_after_s=1)
        future: Future[TimedResult[T]] = Future()
        with self._unfinished_lock:
            self._unfinished += 1
        future.add_done_callback(self._count_finished)
        self._jobs.put((future, job, time.perf_counter()))
        return future

    def _count_finished(self, _future: Future[Any]) -> None:
        with self._unfinished_lock:  # called from the thread that ends the job
            self._unfinished -= 1

    def _work(self) -> None:
        while True:
            future, job, queued_s = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            self._idle.clear()
            started_s = self._started_s = time.perf_counter()
            value: Any = None
            failure: BarnabeeError | None = None
            try:
                value = job()
            except BarnabeeError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - gives every library error a code
                failure = self._wrap_error(error)
            ended_s = time.perf_counter()
            self._started_s = None
            self._idle.set()  # before the result: who awaits it may ask whether this is busy
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(TimedResult(value, started_s - queued_s, ended_s - started_s))
            del future, job, value, failure

    def _wrap_error(self, error: Exception) -> BarnabeeError:
        if is_out_of_memory(error):
            log.warning("out of memory", code=VramExhausted.code, engine=self.name)
            return VramExhausted(model=self.name, why=str(error))
        log.error("engine failed", code=DependencyDown.code, engine=self.name, exc_info=error)
        return DependencyDown(dependency=self.name, reason=str(error))


def release_pooled_memory() -> None:
    """Return the memory of unloaded engines to the driver and the operating system.

    torch keeps freed blocks and the C library its heap until asked.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):  # a C library other than glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)
