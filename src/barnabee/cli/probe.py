"""`barnabee probe`: one spoken question through the real path, and whether all of it was right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.core.errors import BadRequest, InvalidAudio

if TYPE_CHECKING:
    from barnabee.clients.probe import Question, Result


def probe(
    wav: Annotated[
        Path | None, typer.Option("--wav", help="Another recording than the one that comes along.")
    ] = None,
    expect: Annotated[
        str, typer.Option("--expect", metavar="TEXT", help="What is said in --wav.")
    ] = "",
    intent: Annotated[
        str, typer.Option("--intent", metavar="NAME", help="What is meant in --wav.")
    ] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="A stage over its budget is a failure too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask the house a question aloud and check what it heard, answered and spoke, and how fast.

    The question is not kept in the record. Exit status 1 with the stage and the code of what fails.
    """
    import asyncio

    from barnabee.clients.probe import failure

    result = asyncio.run(_probe(_question(wav, expect, intent)))
    if strict and result.success and result.over_budget:
        told = f"over its budget: {', '.join(result.over_budget)}"
        result = replace(result, stage="speak", code="over_budget", message=told)
    typer.echo(json.dumps(result.as_dict(), indent=2) if as_json else _text(result))
    if result.code is not None:
        raise failure(result.stage or "hear", result.code, result.message or "")


def _question(wav: Path | None, expect: str, intent: str) -> Question:
    from barnabee.clients import probe as probes

    if wav is None:
        if expect or intent:
            raise BadRequest(field="command", reason="--expect and --intent belong to --wav")
        return probes.question()
    try:
        return probes.Question(wav.read_bytes(), expect, intent)
    except OSError as error:
        raise InvalidAudio(reason=f"{wav} cannot be read ({error.strerror})") from error


async def _probe(question: Question) -> Result:
    from barnabee.cli.clients import opened
    from barnabee.clients import probe as probes
    from barnabee.core import system

    graph = system.current()
    limit_s = graph.probe.limit_ms / 1000
    async with opened(limit_s) as way:
        rate_hz = graph.voice.sample_rate_hz
        budgets_ms = probes.budgets_ms(graph)
        return await probes.run(
            probes.Way(way.gpu, way.api, rate_hz, budgets_ms, limit_s), question
        )


def _text(result: Result) -> str:
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
