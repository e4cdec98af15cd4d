"""Deep probe: a recorded question through STT, command and TTS, with checks of each result.

Used by `barnabee probe` and by the worker. The command is sent with `kept` false, so that it is not
recorded. A stage over its latency budget is reported but is no failure: on two cores every stage
is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from barnabee.clients import responses
from barnabee.core import tracing
from barnabee.core.errors import BarnabeeError, DependencyDown, ProbeFailed, TimedOut

if TYPE_CHECKING:
    import httpx

    from barnabee.clients.gpu import GpuClient
    from barnabee.core.schema import System


import math
import re
import sys
from array import array

SESSION = "probe"
RECORDING = "probe.wav"  # made by scripts/make_test_audio.py
TEXT, INTENT = "What time is it?", "time"
STEP_COUNT = 3  # each may take the whole time limit
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
FULL_SCALE = 32_768.0
MAX_WORD_ERROR_RATE = 0.34  # one wrong word in a short question is tolerated
QUIET_DBFS = -50.0  # 30 dB below the TTS level of -21 LUFS is noise
# Fast speech has 25 characters per second, slow speech 10; short replies have pauses around them.
SHORTEST_S, LONGEST_S = 0.15, 3.0
CHARACTER_SHORTEST_S, CHARACTER_LONGEST_S = 0.008, 0.4

ProbeStep = Literal["hear", "command", "speak"]


@dataclass(frozen=True, slots=True)
class ProbeQuestion:
    """A recording with the expected text and intent; empty ones are not compared."""

    wav: bytes
    text: str = ""
    intent: str = ""


@dataclass(frozen=True, slots=True)
class ProbeTargets:
    """Clients and limits of a probe; `limit_s` limits each step."""

    gpu: GpuClient
    api: httpx.AsyncClient
    rate_hz: int
    budgets_ms: Mapping[str, int]
    limit_s: float
    clock: Callable[[], float] = time.perf_counter


@dataclass(slots=True)
class ProbeResult:
    """Result of a probe; `stage` and `code` say where and why it failed."""

    trace_id: str = ""
    heard: str = ""
    engine: str = ""
    reply: str = ""
    intent: str = ""
    speech_s: float = 0.0
    degraded: list[str] = field(default_factory=list)
    stages_ms: dict[str, float] = field(default_factory=dict)
    over_budget: list[str] = field(default_factory=list)
    stage: ProbeStep | None = None
    code: str | None = None
    message: str | None = None

    @property
    def success(self) -> bool:
        return self.code is None

    def as_dict(self) -> dict[str, Any]:
        return {"success": self.success} | asdict(self)


def read_budgets_ms(system: System) -> dict[str, int]:
    """Return the latency budgets by stage."""
    return {name.removesuffix("_ms"): limit for name, limit in system.stage.model_dump().items()}


def load_question() -> ProbeQuestion:
    """Return the packaged question."""
    folder = resources.files("barnabee.clients")
    return ProbeQuestion(folder.joinpath(RECORDING).read_bytes(), TEXT, INTENT)


def make_failure(stage: ProbeStep, code: str, reason: str) -> ProbeFailed:
    """Return the error of a failed probe with the code of its cause."""
    error = ProbeFailed(stage=stage, reason=reason.rstrip("."))
    error.code = code  # type: ignore[misc]
    return error


async def run_probe(targets: ProbeTargets, question: ProbeQuestion) -> ProbeResult:
    """Probe the voice path with `question`; failures are in the result, not raised."""
    result = ProbeResult(trace_id=tracing.adopt_trace_id(None))
    probe = _ProbeRun(targets, question, result)
    started_s = targets.clock()
    try:
        async with asyncio.timeout(STEP_COUNT * targets.limit_s), targets.gpu.turn(SESSION):
            await probe.run_stt()
            await probe.run_command()
            await probe.run_tts()
    except TimeoutError:
        error = TimedOut(what="The probe", limit_ms=round(STEP_COUNT * targets.limit_s * 1000))
        probe.record_failure(error.code, str(error))
    except ProbeFailed as error:
        probe.record_failure(error.code, str(error.fields["reason"]))
    except BarnabeeError as error:
        probe.record_failure(error.code, str(error))
    result.stages_ms["total"] = _ms(targets.clock() - started_s)
    result.over_budget = [
        name for name, took in result.stages_ms.items() if took > targets.budgets_ms.get(name, took)
    ]
    return result


class _ProbeRun:
    """One probe in progress, at `_step`."""

    def __init__(self, targets: ProbeTargets, question: ProbeQuestion, result: ProbeResult) -> None:
        self._targets = targets
        self._question = question
        self._result = result
        self._step: ProbeStep = "hear"

    def record_failure(self, code: str, message: str) -> None:
        self._result.stage, self._result.code, self._result.message = self._step, code, message

    async def run_stt(self) -> None:
        started_s = self._targets.clock()
        result = await self._targets.gpu.transcribe(self._question.wav)
        self._record_duration("stt", started_s)
        self._result.heard, self._result.engine = result.text, result.engine
        if not result.text.strip():
            raise self._make_failure("not_heard", "the transcription is empty")
        errors = (
            measure_word_error_rate(result.text, self._question.text)
            if self._question.text
            else 0.0
        )
        if errors > MAX_WORD_ERROR_RATE:
            reason = f"{self._question.text!r} was transcribed as {result.text!r}"
            raise self._make_failure("misheard", reason)

    async def run_command(self) -> None:
        self._step = "command"
        started_s = self._targets.clock()
        reply = await self._send_command(self._result.heard)
        self._record_duration("command", started_s)
        self._result.stages_ms |= {
            name: float(took)
            for name, took in reply["latency_ms"].items()
            if name in {"intent", "home", "llm"}
        }
        self._result.reply, self._result.intent = reply["reply"], reply["intent"]
        self._result.degraded = reply["degraded"]
        if reply["code"]:
            raise self._make_failure(reply["code"], f"the reply is {reply['reply']!r}")
        if not reply["reply"].strip():
            raise self._make_failure("no_reply", "the reply is empty")
        if self._question.intent not in {"", reply["intent"]}:
            reason = f"the intent is {reply['intent']!r} instead of {self._question.intent!r}"
            raise self._make_failure("misunderstood", reason)

    async def run_tts(self) -> None:
        self._step = "speak"
        started_s = self._targets.clock()
        pcm = bytearray()
        async for chunk in self._targets.gpu.speak(self._result.reply, format="pcm"):
            if not pcm:
                self._record_duration("tts_first_byte", started_s)
            pcm += chunk
        self._record_duration("tts", started_s)
        took = self._result.stages_ms
        took["first_audio"] = round(
            took["stt"] + took["command"] + took.get("tts_first_byte", took["tts"]), 1
        )
        self._result.speech_s = round(len(pcm) / 2 / self._targets.rate_hz, 2)
        problem = find_speech_problem(bytes(pcm), self._targets.rate_hz, self._result.reply)
        if problem:
            raise self._make_failure(*problem)

    async def _send_command(self, text: str) -> dict[str, Any]:
        import httpx  # noqa: PLC0415 - not needed by a worker without probes

        limit_s = self._targets.limit_s
        body = {"utterance": text, "kept": False}
        try:
            response = await self._targets.api.post(
                "/v1/command", json=body, headers=tracing.make_headers(), timeout=limit_s
            )
        except httpx.TimeoutException as error:
            raise TimedOut(what="api", limit_ms=round(limit_s * 1000)) from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DependencyDown(dependency="api", reason=reason) from error
        refusal = responses.parse_error(response, "api")
        if refusal is not None:
            raise refusal
        with responses.wrap_parse_errors("api"):
            reply: dict[str, Any] = response.json()
            return {name: reply[name] for name in ("reply", "intent", "degraded", "code")} | {
                "latency_ms": dict(reply["latency_ms"])
            }

    def _record_duration(self, stage: str, started_s: float) -> None:
        self._result.stages_ms[stage] = _ms(self._targets.clock() - started_s)

    def _make_failure(self, code: str, reason: str) -> ProbeFailed:
        return make_failure(self._step, code, reason)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def measure_word_error_rate(recognized: str, expected: str) -> float:
    """Return the word error rate: wrong, missing and extra words per expected word."""
    got, words = _WORD.findall(recognized.lower()), _WORD.findall(expected.lower())
    row = list(range(len(got) + 1))
    for number, word in enumerate(words, start=1):
        previous, row = row, [number]
        for index, other in enumerate(got, start=1):
            substituted = previous[index - 1] + (word != other)
            row.append(min(substituted, previous[index] + 1, row[-1] + 1))
    return row[-1] / max(1, len(words))


def measure_level_dbfs(pcm: bytes) -> float:
    """Return the RMS level of 16-bit little-endian mono PCM; -inf for silence."""
    samples = array("h", pcm[: len(pcm) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    power = sum(sample * sample for sample in samples) / max(1, len(samples))
    return 10 * math.log10(power / FULL_SCALE**2) if power else -math.inf


def find_speech_problem(pcm: bytes, rate_hz: int, text: str) -> tuple[str, str] | None:
    """Return (code, reason) when `pcm` cannot be speech of `text`, otherwise None."""
    seconds = len(pcm) / 2 / rate_hz
    shortest_s = max(SHORTEST_S, len(text) * CHARACTER_SHORTEST_S)
    longest_s = LONGEST_S + len(text) * CHARACTER_LONGEST_S
    if not shortest_s <= seconds <= longest_s:
        expected = f"instead of {shortest_s:.2f} to {longest_s:.2f} s"
        return "speech_length", f"{seconds:.2f} s of audio for {len(text)} characters, {expected}"
    level = measure_level_dbfs(pcm)
    if level < QUIET_DBFS:
        return "speech_silent", f"the level is {level:.0f} dBFS, below {QUIET_DBFS:.0f}"
    return None
