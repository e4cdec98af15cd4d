"""`barnabee accept`: does this house keep the specification's five promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from barnabee.accept.criteria import Row
    from barnabee.accept.measures import Fire

_COLOURS = {"passed": "green", "failed": "red", "not checked": "yellow"}


def accept(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    target: Annotated[
        str,
        typer.Option("--target", metavar="local|URL", help="This machine, or an api elsewhere."),
    ] = "local",
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="SERVICE=HOST", help="Units: ask this one there."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="The api's token; default: the house's own.")
    ] = None,
    allow_unchecked: Annotated[
        bool, typer.Option("--allow-unchecked", help="What cannot be checked here is no failure.")
    ] = False,
) -> None:
    """Measure the five acceptance criteria; exit 0 only when every one is met.

    Cold start, health cascade, a log line found by a query, a row in the replica, a test alert in
    Home Assistant. It sends the house one request and one command, which stays in its record.
    """
    import asyncio
    import sys

    import structlog

    from barnabee.accept.criteria import accepted
    from barnabee.cli.health import places_of

    # What the clients have to tell is not the command's answer.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))

    token = _token(token_file) if token_file else None
    rows = asyncio.run(_rows(target, places_of(at or []), token))
    good = accepted(rows, allow_unchecked=allow_unchecked)
    if as_json:
        told = {"accepted": good, "target": target, "criteria": [row.as_dict() for row in rows]}
        typer.echo(json.dumps(told, indent=2))
    else:
        _print(rows, good=good)
    if not good:
        raise typer.Exit(1)


def _token(file: Path) -> str:
    from barnabee.core.errors import SettingInvalid

    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        hint = "name a file with the api's token"
        raise SettingInvalid(name="--token-file", reason=str(error), hint=hint) from error


async def _rows(target: str, places: dict[str, str], token: str | None) -> list[Row]:
    from barnabee.accept.run import run
    from barnabee.accept.target import opened

    async with opened(target, places=places, token=token) as house:
        return await run(house, _fire())


def _fire() -> Fire | None:
    """Return what sends a test alert, as `barnabee alert test` does; None without Alertmanager."""
    from barnabee.cli import alert

    if not alert.can_be_sent():
        return None
    return lambda limit_s: alert.tried(limit_s=limit_s)


def _print(rows: list[Row], *, good: bool) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    width = max(len(row.name) for row in rows)
    for row in rows:
        figure = "-" if row.figure is None else f"{row.figure:g} {row.unit}"
        colour = _COLOURS[row.verdict.value]
        source = f"  [dim]{escape(row.source)}[/]" if row.source else ""
        console.print(
            f"{row.name:<{width}}  {figure:>10}  limit {row.limit:>3} {row.unit:<5}  "
            f"[{colour}]{row.verdict.value}[/]{source}"
        )
        if row.why:
            console.print(f"{'':<{width}}  [{colour}]{escape(row.why)}[/]")
    console.print("[green]accepted[/]" if good else "[red]not accepted[/]")
