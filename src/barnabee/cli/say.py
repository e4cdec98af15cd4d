"""`barnabee say`: one sentence to the house, in writing or as a recording."""

from __future__ import annotations

import secrets
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabee.cli.clients import Way, opened
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

_TIMEOUT_S = 60.0


def say(
    text: Annotated[str | None, typer.Argument(help="What to say.")] = None,
    wav: Annotated[Path | None, typer.Option("--wav", help="A recording of what to say.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to put the spoken reply (WAV).")
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", help="The conversation to go on with.")
    ] = None,
) -> None:
    """Say something to the house and show what it answers."""
    import asyncio

    if (text is None) == (wav is None):
        raise BadRequest(field="command", reason="give either a text or --wav FILE")
    asyncio.run(_say(text, wav, out, session))


async def _say(text: str | None, wav: Path | None, out: Path | None, session: str | None) -> None:
    async with opened(_TIMEOUT_S) as way:
        if wav is None:
            await _converse(way, text, wav, out, session)
        else:
            await _as_one_turn(way, wav, out, session)


async def _as_one_turn(way: Way, wav: Path, out: Path | None, session: str | None) -> None:
    """Hear, answer and speak while the inference service keeps what that needs."""
    async with way.gpu.turn(session or f"say-{secrets.token_hex(4)}"):
        await _converse(way, None, wav, out, session)


async def _converse(
    way: Way, text: str | None, wav: Path | None, out: Path | None, session: str | None
) -> None:
    times_ms: dict[str, float] = {}
    if wav is not None:
        begun = time.perf_counter()
        heard = await way.gpu.transcribe(_read(wav))
        times_ms["hear"] = (time.perf_counter() - begun) * 1000
        text = heard.text
        typer.echo(f"heard:    {text}")
    answer = await _command(way.api, text or "", session)
    times_ms |= answer["latency_ms"]
    typer.echo(f"reply:    {answer['reply']}")
    if out is not None:
        begun = time.perf_counter()
        seconds = await _speak(way.gpu, answer["reply"], out)
        times_ms["speak"] = (time.perf_counter() - begun) * 1000
        typer.echo(f"spoken:   {out} ({seconds:.1f} s)")
    typer.echo(f"intent:   {answer['intent']}")
    for action in answer["actions"]:
        typer.echo(f"action:   {_action(action)}")
    if answer["degraded"]:
        typer.echo(f"degraded: {', '.join(answer['degraded'])}")
    stages = ", ".join(f"{name} {value:.1f}" for name, value in times_ms.items())
    typer.echo(f"ms:       {stages}")
    typer.echo(f"session:  {answer['session_id']}   trace: {answer['trace_id']}")


async def _command(api: httpx.AsyncClient, text: str, session: str | None) -> dict[str, Any]:
    import httpx

    body = {"utterance": text} | ({"session_id": session} if session else {})
    try:
        response = await api.post("/v1/command", json=body)
    except httpx.TimeoutException as error:
        raise TimedOut(what="The command", limit_ms=round(_TIMEOUT_S * 1000)) from error
    except httpx.HTTPError as error:
        raise DependencyDown(dependency="api", reason=str(error) or "no connection") from error
    if response.is_success:
        found: dict[str, Any] = response.json()
        return found
    raise _refused(response.status_code, _body(response))


def _refused(status: int, body: dict[str, Any]) -> BarnabeeError:
    if status == Unauthorized.status:
        return Unauthorized()
    message = str(body.get("message") or f"the api answered HTTP {status}").rstrip(".")
    client_error = 400 <= status < 500  # noqa: PLR2004 - HTTP's class of the caller's mistakes
    if client_error:
        return BadRequest(field="command", reason=message)
    return Unavailable(what=message)


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def _speak(gpu: GpuClient, text: str, out: Path) -> float:
    """Write the reply as WAV; return its length in seconds."""
    sound = b"".join([chunk async for chunk in gpu.speak(text, format="pcm")])
    try:
        with wave.open(str(out), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(_sample_rate_hz())
            file.writeframes(sound)
    except OSError as error:
        raise BadRequest(field="--out", reason=f"{out} cannot be written ({error})") from error
    return len(sound) / 2 / _sample_rate_hz()


def _sample_rate_hz() -> int:
    from barnabee.core import system

    return system.current().voice.sample_rate_hz


def _read(wav: Path) -> bytes:
    try:
        return wav.read_bytes()
    except OSError as error:
        raise InvalidAudio(reason=f"{wav} cannot be read ({error.strerror})") from error


def _action(action: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in action.items() if value is not None)
