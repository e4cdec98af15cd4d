"""The deep probe: a spoken question travels the real path, and what comes back is checked.

hear (gpu) -> command (api) -> speak (gpu), as a turn does. The question is asked with `kept` false,
so that the family's record and conversations know nothing of it. Used by `barnabee probe` and by
the worker. A stage over its budget is told, not failed: on two cores every stage is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from barnabee.clients import probe_assertions, responses
from barnabee.core import trace_context
from barnabee.core.errors import BarnabeeError, DependencyDown, ProbeFailed, TimedOut

if TYPE_CHECKING:
    import httpx

    from barnabee.clients.gpu import GpuClient
    from barnabee.core.schema import System

SESSION = "probe"
RECORDING = "probe.wav"  # made by scripts/make_test_audio.py
TEXT, INTENT = "What time is it?", "time"
STEPS = 3  # each may take the whole limit

Step = Literal["hear", "command", "speak"]


@dataclass(frozen=True, slots=True)
class Question:
    """A recording, what is said in it, and what is meant; what is empty is not compared."""

    wav: bytes
    text: str = ""
    intent: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """The way to the services; `limit_s` bounds each step."""

    gpu: GpuClient
    api: httpx.AsyncClient
    rate_hz: int
    budgets_ms: Mapping[str, int]
    limit_s: float
    clock: Callable[[], float] = time.perf_counter


@dataclass(slots=True)
class Result:
    """What came of a probe; `stage` and `code` say where and why it failed."""

    trace_id: str = ""
    heard: str = ""
    engine: str = ""
    reply: str = ""
    intent: str = ""
    speech_s: float = 0.0
    degraded: list[str] = field(default_factory=list)
    stages_ms: dict[str, float] = field(default_factory=dict)
    over_budget: list[str] = field(default_factory=list)
    stage: Step | None = None
    code: str | None = None
    message: str | None = None

    @property
    def success(self) -> bool:
        """Return whether all was right."""
        return self.code is None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"success": self.success} | asdict(self)


def budgets_ms(system: System) -> dict[str, int]:
    """Return what each stage may take by its name."""
    return {name.removesuffix("_ms"): limit for name, limit in system.stage.model_dump().items()}


def question() -> Question:
    """Return the question that comes with the package."""
    folder = resources.files("barnabee.clients")
    return Question(folder.joinpath(RECORDING).read_bytes(), TEXT, INTENT)


def failure(stage: Step, code: str, reason: str) -> ProbeFailed:
    """Return the error of a probe that failed; its code is that of whatever was wrong."""
    error = ProbeFailed(stage=stage, reason=reason.rstrip("."))
    error.code = code  # type: ignore[misc]
    return error


async def run(way: Way, asked: Question) -> Result:
    """Return what came of `asked`; raises nothing that is one of our errors."""
    result = Result(trace_id=trace_context.adopt(None))
    probe = _Probe(way, asked, result)
    begun = way.clock()
    try:
        async with asyncio.timeout(STEPS * way.limit_s), way.gpu.turn(SESSION):
            await probe.hear()
            await probe.command()
            await probe.speak()
    except TimeoutError:
        error = TimedOut(what="The probe", limit_ms=round(STEPS * way.limit_s * 1000))
        probe.failed(error.code, str(error))
    except ProbeFailed as error:
        probe.failed(error.code, str(error.fields["reason"]))
    except BarnabeeError as error:
        probe.failed(error.code, str(error))
    result.stages_ms["total"] = _ms(way.clock() - begun)
    result.over_budget = [
        name for name, took in result.stages_ms.items() if took > way.budgets_ms.get(name, took)
    ]
    return result


class _Probe:
    """One probe on its way; `_step` is where it is."""

    def __init__(self, way: Way, asked: Question, result: Result) -> None:
        self._way = way
        self._asked = asked
        self._result = result
        self._step: Step = "hear"

    def failed(self, code: str, message: str) -> None:
        self._result.stage, self._result.code, self._result.message = self._step, code, message

    async def hear(self) -> None:
        begun = self._way.clock()
        heard = await self._way.gpu.transcribe(self._asked.wav)
        self._took("stt", begun)
        self._result.heard, self._result.engine = heard.text, heard.engine
        if not heard.text.strip():
            raise self._wrong("not_heard", "nothing was heard")
        errors = (
            probe_assertions.word_errors(heard.text, self._asked.text) if self._asked.text else 0.0
        )
        if errors > probe_assertions.WORD_ERRORS_MAX:
            told = f"{self._asked.text!r} was heard as {heard.text!r}"
            raise self._wrong("misheard", told)

    async def command(self) -> None:
        self._step = "command"
        begun = self._way.clock()
        found = await self._ask(self._result.heard)
        self._took("command", begun)
        self._result.stages_ms |= {
            name: float(took)
            for name, took in found["latency_ms"].items()
            if name in {"intent", "home", "llm"}
        }
        self._result.reply, self._result.intent = found["reply"], found["intent"]
        self._result.degraded = found["degraded"]
        if found["code"]:
            raise self._wrong(found["code"], f"it was answered {found['reply']!r}")
        if not found["reply"].strip():
            raise self._wrong("no_reply", "the reply is empty")
        if self._asked.intent not in {"", found["intent"]}:
            told = f"it was understood as {found['intent']!r}, not {self._asked.intent!r}"
            raise self._wrong("misunderstood", told)

    async def speak(self) -> None:
        self._step = "speak"
        begun = self._way.clock()
        sound = bytearray()
        async for chunk in self._way.gpu.speak(self._result.reply, format="pcm"):
            if not sound:
                self._took("tts_first_byte", begun)
            sound += chunk
        self._took("tts", begun)
        took = self._result.stages_ms
        took["first_audio"] = round(
            took["stt"] + took["command"] + took.get("tts_first_byte", took["tts"]), 1
        )
        self._result.speech_s = round(len(sound) / 2 / self._way.rate_hz, 2)
        problem = probe_assertions.speech_problem(
            bytes(sound), self._way.rate_hz, self._result.reply
        )
        if problem:
            raise self._wrong(*problem)

    async def _ask(self, text: str) -> dict[str, Any]:
        import httpx  # noqa: PLC0415 - a worker that does not probe needs none

        limit_s = self._way.limit_s
        body = {"utterance": text, "kept": False}
        try:
            response = await self._way.api.post(
                "/v1/command", json=body, headers=trace_context.headers(), timeout=limit_s
            )
        except httpx.TimeoutException as error:
            raise TimedOut(what="api", limit_ms=round(limit_s * 1000)) from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DependencyDown(dependency="api", reason=reason) from error
        refusal = responses.error_of(response, "api")
        if refusal is not None:
            raise refusal
        with responses.understood("api"):
            found: dict[str, Any] = response.json()
            return {name: found[name] for name in ("reply", "intent", "degraded", "code")} | {
                "latency_ms": dict(found["latency_ms"])
            }

    def _took(self, stage: str, begun: float) -> None:
        self._result.stages_ms[stage] = _ms(self._way.clock() - begun)

    def _wrong(self, code: str, reason: str) -> ProbeFailed:
        return failure(self._step, code, reason)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
