"""Capabilities of the inference service and their models, in order of preference."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from barnabee.core.errors import BarnabeeError, DependencyDown, NotFound
from barnabee.core.health import Degraded
from barnabee.gpu.engines.base import (
    Engine,
    LanguageModel,
    SpeechToText,
    TextEmbedder,
    TextToSpeech,
    WakeWordEngine,
)
from barnabee.gpu.model_lease import ModelLease
from barnabee.gpu.model_runtime import ModelRuntime, RuntimeState
from barnabee.gpu.vram.manager import VramManager

E = TypeVar("E", bound=Engine)


@dataclass(frozen=True)
class Capability(Generic[E]):
    """One capability ("stt", "tts", "embed", "wake", "llm") and its models, by preference."""

    name: str
    runtimes: tuple[ModelRuntime[E], ...]
    manager: VramManager = field(repr=False)
    aliases: frozenset[str] = frozenset()  # model names that stand for any of `runtimes`

    @property
    def preferred(self) -> ModelRuntime[E]:
        return self.runtimes[0]

    def find_runtimes(self, model: str) -> tuple[ModelRuntime[E], ...]:
        """Return all models for an alias, one for its own name or id; NotFound."""
        if model in self.aliases:
            return self.runtimes
        for runtime in self.runtimes:
            if model in {runtime.name, runtime.model_id}:
                return (runtime,)
        raise NotFound(what=f"model {model!r} for this; there is {self.preferred.model_id!r}")

    def lease(
        self, runtime: ModelRuntime[E] | None = None, session: str = "", *, standing: bool = False
    ) -> AbstractAsyncContextManager[ModelLease[E]]:
        """Lease a model, the preferred one by default; see `VramManager.lease`."""
        return self.manager.lease((runtime or self.preferred).name, session, standing=standing)

    def check_health(self) -> Degraded | None:
        """Return Degraded when a fallback replaces the preferred model; raise when none can."""
        fallbacks = self.runtimes[1:]
        try:
            self.preferred.require_engine()
        except BarnabeeError as error:
            if not fallbacks or any(one.state is RuntimeState.FAILED for one in fallbacks):
                raise
            return Degraded(error.code, f"{fallbacks[0].model_id} is used instead: {error}")
        return None


@dataclass(frozen=True)
class Capabilities:
    """All capabilities of the service."""

    stt: Capability[SpeechToText]
    tts: Capability[TextToSpeech]
    embed: Capability[TextEmbedder]
    wake: Capability[WakeWordEngine]
    manager: VramManager
    llm: Capability[LanguageModel] | None = None

    def all(self) -> tuple[Capability[Any], ...]:
        return (*self.always_loaded(), *((self.llm,) if self.llm else ()))

    def always_loaded(self) -> tuple[Capability[Any], ...]:
        """Return those of which a model is loaded from the start."""
        return (*self.required_for_turn(), self.wake)

    def required_for_turn(self) -> tuple[Capability[Any], ...]:
        """Return what a spoken turn needs after the wake word."""
        return (self.stt, self.tts, self.embed)

    def find_runtime(self, model: str) -> ModelRuntime[Engine]:
        """Return the model of this name, id or alias; NotFound."""
        for capability in self.all():
            try:
                runtime: ModelRuntime[Engine] = capability.find_runtimes(model)[0]
            except NotFound:
                continue
            return runtime
        raise NotFound(what=f"model {model!r}")

    def check_any_ready(self) -> None:
        """Raise DependencyDown when no model that a turn needs is loaded."""
        for capability in self.required_for_turn():
            if any(runtime.state is RuntimeState.READY for runtime in capability.runtimes):
                return
        raise DependencyDown(dependency="every engine", reason="none could be loaded")
