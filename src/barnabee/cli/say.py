"""`barnabee say` and `probe`: a sentence to the assistant, and a test of the voice path."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabee.cli import echo
from barnabee.cli.clients import ServiceClients, open_clients
from barnabee.core.errors import (
    BadRequest,
    BarnabeeError,
    DependencyDown,
    InvalidAudio,
    TimedOut,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    import httpx

    from barnabee.clients.gpu import GpuClient
    from barnabee.clients.probe import ProbeQuestion, ProbeResult

_TIMEOUT_S = 60.0


def say_command(
    text: Annotated[str | None, typer.Argument(help="The command.")] = None,
    wav: Annotated[Path | None, typer.Option("--wav", help="A recording of the command.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File for the spoken reply (WAV).")
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", help="Id of the conversation to continue.")
    ] = None,
    room: Annotated[
        str | None, typer.Option("--room", help="Room in which it is said, such as kitchen.")
    ] = None,
) -> None:
    """Send a command to the assistant and show the reply."""
    import asyncio

    if (text is None) == (wav is None):
        raise BadRequest(field="command", reason="give a text or --wav FILE")
    asyncio.run(_say(text, wav, out, CommandOrigin(session, room)))


@dataclass(frozen=True, slots=True)
class CommandOrigin:
    """Where a command is said: the conversation to continue and the room."""

    session: str | None = None
    room: str | None = None


async def _say(text: str | None, wav: Path | None, out: Path | None, origin: CommandOrigin) -> None:
    async with open_clients(_TIMEOUT_S) as clients:
        if wav is None:
            await _converse(clients, text, wav, out, origin)
        else:
            await _converse_in_turn(clients, wav, out, origin)


async def _converse_in_turn(
    clients: ServiceClients, wav: Path, out: Path | None, origin: CommandOrigin
) -> None:
    """Converse within one turn, during which the inference service holds its models loaded."""
    async with clients.gpu.turn(origin.session or f"say-{secrets.token_hex(4)}"):
        await _converse(clients, None, wav, out, origin)


async def _converse(
    clients: ServiceClients,
    text: str | None,
    wav: Path | None,
    out: Path | None,
    origin: CommandOrigin,
) -> None:
    times_ms: dict[str, float] = {}
    if wav is not None:
        begun_s = time.perf_counter()
        transcript = await clients.gpu.transcribe(_read_recording(wav))
        times_ms["hear"] = (time.perf_counter() - begun_s) * 1000
        text = transcript.text
        echo(f"heard:    {text}")
    answer = await _send_command(clients.api, text or "", origin)
    times_ms |= answer["latency_ms"]
    echo(f"reply:    {answer['reply']}")
    if out is not None:
        begun_s = time.perf_counter()
        seconds = await _save_speech(clients.gpu, answer["reply"], out)
        times_ms["speak"] = (time.perf_counter() - begun_s) * 1000
        echo(f"spoken:   {out} ({seconds:.1f} s)")
    echo(f"intent:   {answer['intent']}")
    for action in answer["actions"]:
        echo(f"action:   {_format_action(action)}")
    if answer["degraded"]:
        echo(f"degraded: {', '.join(answer['degraded'])}")
    stages = ", ".join(f"{name} {value:.1f}" for name, value in times_ms.items())
    echo(f"ms:       {stages}")
    echo(f"session:  {answer['session_id']}   trace: {answer['trace_id']}")


async def _send_command(api: httpx.AsyncClient, text: str, origin: CommandOrigin) -> dict[str, Any]:
    import httpx

    given = {"session_id": origin.session, "room": origin.room}
    command = {"utterance": text, **{name: value for name, value in given.items() if value}}
    try:
        response = await api.post("/v1/command", json=command)
    except httpx.TimeoutException as error:
        raise TimedOut(what="The command", limit_ms=round(_TIMEOUT_S * 1000)) from error
    except httpx.HTTPError as error:
        raise DependencyDown(dependency="api", reason=str(error) or "no connection") from error
    if response.is_success:
        body: dict[str, Any] = response.json()
        return body
    raise _make_error(response.status_code, _read_body(response))


def _make_error(status: int, body: dict[str, Any]) -> BarnabeeError:
    if status == Unauthorized.status:
        return Unauthorized()
    message = str(body.get("message") or f"the api answered HTTP {status}").rstrip(".")
    is_client_error = 400 <= status < 500  # noqa: PLR2004 - HTTP status classes
    if is_client_error:
        return BadRequest(field="command", reason=message)
    return Unavailable(what=message)


def _read_body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


async def _save_speech(gpu: GpuClient, text: str, out: Path) -> float:
    """Write the spoken reply as WAV; return its length in seconds."""
    import asyncio

    from barnabee.audio.wav import encode as encode_wav

    sound = b"".join([chunk async for chunk in gpu.speak(text, format="pcm")])
    try:
        await asyncio.to_thread(out.write_bytes, encode_wav(sound, _sample_rate_hz()))
    except OSError as error:
        raise BadRequest(field="--out", reason=f"{out} cannot be written ({error})") from error
    return len(sound) / 2 / _sample_rate_hz()


def _sample_rate_hz() -> int:
    from barnabee.core import system

    return system.get_system().voice.sample_rate_hz


def _read_recording(wav: Path) -> bytes:
    try:
        return wav.read_bytes()
    except OSError as error:
        raise InvalidAudio(reason=f"{wav} cannot be read ({error.strerror})") from error


def _format_action(action: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in action.items() if value is not None)


def run_probe(
    wav: Annotated[
        Path | None, typer.Option("--wav", help="Use this recording instead of the included one.")
    ] = None,
    expect: Annotated[
        str, typer.Option("--expect", metavar="TEXT", help="Expected transcript of --wav.")
    ] = "",
    intent: Annotated[
        str, typer.Option("--intent", metavar="NAME", help="Expected intent of --wav.")
    ] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail also if a stage exceeds its budget.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send a spoken question through STT, command and TTS and check every result and its time.

    The question is not recorded. Exit status 1 with the stage and the code of a failure.
    """
    import asyncio

    from barnabee.clients.probe import make_failure

    result = asyncio.run(_run(_load_question(wav, expect, intent)))
    if strict and result.success and result.over_budget:
        message = f"over budget: {', '.join(result.over_budget)}"
        result = replace(result, stage="speak", code="over_budget", message=message)
    echo(json.dumps(result.as_dict(), indent=2) if as_json else _format_result(result))
    if result.code is not None:
        raise make_failure(result.stage or "hear", result.code, result.message or "")


def _load_question(wav: Path | None, expect: str, intent: str) -> ProbeQuestion:
    from barnabee.clients import probe as probes

    if wav is None:
        if expect or intent:
            raise BadRequest(field="command", reason="--expect and --intent need --wav")
        return probes.load_question()
    try:
        return probes.ProbeQuestion(wav.read_bytes(), expect, intent)
    except OSError as error:
        raise InvalidAudio(reason=f"{wav} cannot be read ({error.strerror})") from error


async def _run(question: ProbeQuestion) -> ProbeResult:
    from barnabee.cli.clients import open_clients
    from barnabee.clients import probe as probes
    from barnabee.core import system

    graph = system.get_system()
    limit_s = graph.probe.limit_ms / 1000
    async with open_clients(limit_s) as clients:
        rate_hz = graph.voice.sample_rate_hz
        budgets_ms = probes.read_budgets_ms(graph)
        return await probes.run_probe(
            probes.ProbeTargets(clients.gpu, clients.api, rate_hz, budgets_ms, limit_s), question
        )


def _format_result(result: ProbeResult) -> str:
    stages = ", ".join(
        f"{name} {took:.0f}{' (over budget)' if name in result.over_budget else ''}"
        for name, took in result.stages_ms.items()
    )
    lines = [
        f"heard:    {result.heard} ({result.engine})" if result.heard else "",
        f"reply:    {result.reply} ({result.intent})" if result.reply else "",
        f"spoken:   {result.speech_s:.1f} s" if result.speech_s else "",
        f"degraded: {', '.join(result.degraded)}" if result.degraded else "",
        f"ms:       {stages}",
        f"trace:    {result.trace_id}",
        "the voice path works" if result.success else "",
    ]
    return "\n".join(filter(None, lines))
