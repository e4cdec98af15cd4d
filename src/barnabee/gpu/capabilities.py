"""Which models serve which task, in which order: the first that can, does.

Knows engines only by their protocols.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from barnabee.core.errors import BarnabeeError, DependencyDown, NotFound
from barnabee.core.health import Degraded
from barnabee.gpu.engines.protocols import (
    Embedder,
    Engine,
    SpeechToText,
    TextToSpeech,
    WakeWords,
)
from barnabee.gpu.model_lease import Use
from barnabee.gpu.model_runtime import Slot, State
from barnabee.gpu.vram.manager import Manager

E = TypeVar("E", bound=Engine)


@dataclass(frozen=True)
class Task(Generic[E]):
    """A task and the models that can do it, the best first; the others stand in for it."""

    name: str
    slots: tuple[Slot[E], ...]
    manager: Manager = field(repr=False)
    aliases: frozenset[str] = frozenset()  # names that mean "whatever does this task"

    @property
    def first(self) -> Slot[E]:
        """Return the model that does it when all is well."""
        return self.slots[0]

    def called(self, model: str) -> tuple[Slot[E], ...]:
        """Return who may serve a request for `model`: one by its own name, all by an alias."""
        if model in self.aliases:
            return self.slots
        for slot in self.slots:
            if model in {slot.name, slot.model}:
                return (slot,)
        raise NotFound(what=f"model {model!r} for this; there is {self.first.model!r}")

    def lease(
        self, slot: Slot[E] | None = None, session: str = "", *, standing: bool = False
    ) -> AbstractAsyncContextManager[Use[E]]:
        """Keep a model (the first, if none is named) on the card while it is used.

        `standing` is for a use without an end, like a microphone's: see `Manager.lease`.
        """
        return self.manager.lease((slot or self.first).name, session, standing=standing)

    def health(self) -> Degraded | None:
        """Return None when the first model serves, Degraded when another one can."""
        first = self.first
        try:
            first.check()
        except BarnabeeError as error:
            if not self.slots[1:] or any(one.state is State.FAILED for one in self.slots[1:]):
                raise
            return Degraded(error.code, f"{self.slots[1].model} stands in: {error}")
        return None


@dataclass(frozen=True)
class Tasks:
    """Everything this service can do."""

    stt: Task[SpeechToText]
    tts: Task[TextToSpeech]
    embed: Task[Embedder]
    wake: Task[WakeWords]
    manager: Manager

    def all(self) -> tuple[Task[Any], ...]:
        """Return every task."""
        return (*self.of_a_turn(), self.wake)

    def of_a_turn(self) -> tuple[Task[Any], ...]:
        """Return what it takes to answer somebody who has been heard to call."""
        return (self.stt, self.tts, self.embed)

    def find(self, model: str) -> Slot[Engine]:
        """Return the model of this name or alias; NotFound."""
        for task in self.all():
            try:
                found: Slot[Engine] = task.called(model)[0]
            except NotFound:
                continue
            return found
        raise NotFound(what=f"model {model!r}")

    def none_works(self) -> DependencyDown | None:
        """Return an error when not a single task of a turn can be done."""
        if any(slot.state is State.READY for task in self.of_a_turn() for slot in task.slots):
            return None
        return DependencyDown(dependency="every engine", reason="none could be loaded")
