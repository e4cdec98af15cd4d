"""`barnabee probe`: test of the voice path with one spoken question."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.cli import echo
from barnabee.core.errors import BadRequest, InvalidAudio

if TYPE_CHECKING:
    from barnabee.clients.probe import ProbeQuestion, ProbeResult


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
