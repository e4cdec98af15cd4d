"""One model's place: how its engine is made, how it is, and the line in front of it.

Loads and unloads when the manager of the card says so, and decides nothing. Knows engines only by
their protocols.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

import structlog

from barnabee.core.errors import BarnabeeError, EngineStuck, Loading
from barnabee.gpu.engine_thread import Lane
from barnabee.gpu.engines.memory import give_back
from barnabee.gpu.engines.protocols import Engine

E = TypeVar("E", bound=Engine)

log = structlog.get_logger()


class State(StrEnum):
    """How an engine is."""

    ABSENT = "absent"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STUCK = "stuck"


@dataclass
class Slot(Generic[E]):
    """A model, the engine that runs it, and the line in front of it."""

    task: str
    model: str  # the name of its files, which is also its id in the API
    make: Callable[[], E]
    name: str = ""  # in system.toml; the same as `model` where nothing else is said
    limit_s: float = 30.0  # longer than this no inference may take
    error: BarnabeeError | None = None
    lane: Lane = field(init=False)
    _engine: E | None = None
    _loading: bool = False

    def __post_init__(self) -> None:
        """Make the line."""
        self.name = self.name or self.model
        self.lane = Lane(self.model)

    @property
    def state(self) -> State:
        """Return how it is now."""
        if self._loading:
            return State.LOADING
        if self.lane.running_s > self.limit_s:
            return State.STUCK
        if self._engine is not None:
            return State.READY
        return State.FAILED if self.error else State.ABSENT

    def check(self) -> E:
        """Return the engine; Loading, EngineStuck, or the error it failed with."""
        if self.state is State.STUCK:
            raise EngineStuck(engine=self.model, limit_ms=round(self.limit_s * 1000))
        if self._engine is not None:
            return self._engine
        raise self.error or Loading(what=self.model, retry_after_s=1)

    async def load(self) -> float:
        """Load the engine and let it do one inference; return the seconds it took."""
        self._loading = True
        try:
            timed = await self.lane.run(self._make_and_warm_up)
        except BarnabeeError as error:
            if self.error is None or str(self.error) != str(error):
                said = str(error)  # the sentence is meant for people; a traceback would hide it
                log.error("model failed", code=error.code, engine=self.model, message=said)  # noqa: TRY400
            self.error = error
            raise
        finally:
            self._loading = False
        self._engine, self.error = timed.value, None
        return timed.took_s

    async def unload(self) -> None:
        """Close the engine and give its memory back; raises when it refuses, and keeps it."""
        engine = self._engine
        if engine is None:
            return
        await self.lane.run(engine.close)
        self._engine = None
        del engine
        await self.lane.run(give_back)

    def _make_and_warm_up(self) -> E:
        engine = self.make()
        engine.warm_up()
        return engine
