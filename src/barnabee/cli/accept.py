"""`barnabee accept`: the acceptance test of the specification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.accept.criteria import CriterionResult, SendTestAlert

_COLOURS = {"passed": "green", "failed": "red", "not checked": "yellow"}


def run_acceptance(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    target: Annotated[
        str,
        typer.Option("--target", metavar="local|URL", help="This machine, or the URL of an api."),
    ] = "local",
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at", metavar="SERVICE=HOST", help="Probe this systemd service on that host."
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="File with the api's token; default: this machine's."),
    ] = None,
    allow_unchecked: Annotated[
        bool, typer.Option("--allow-unchecked", help="Accept criteria that cannot be checked here.")
    ] = False,
) -> None:
    """Measure the five acceptance criteria; exit status 0 if all of them are met.

    Cold start, health cascade, log query, replica lag, and a test alert in Home Assistant. Sends
    one request and one command, which stays in the database.
    """
    import asyncio
    import sys

    import structlog

    from barnabee.accept.criteria import is_accepted
    from barnabee.cli.health import parse_hosts

    # Log records must not mix with the command's output.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))

    token = _read_token(token_file) if token_file else None
    results = asyncio.run(_measure(target, parse_hosts(at or []), token))
    accepted = is_accepted(results, allow_unchecked=allow_unchecked)
    if as_json:
        criteria = [result.as_dict() for result in results]
        report = {"accepted": accepted, "target": target, "criteria": criteria}
        echo(json.dumps(report, indent=2))
    else:
        _print_results(results, accepted=accepted)
    if not accepted:
        raise typer.Exit(1)


def _read_token(file: Path) -> str:
    from barnabee.core.errors import SettingInvalid

    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        hint = "name a file that contains the api's token"
        raise SettingInvalid(name="--token-file", reason=str(error), hint=hint) from error


async def _measure(target: str, hosts: dict[str, str], token: str | None) -> list[CriterionResult]:
    from barnabee.accept.criteria import measure_all
    from barnabee.accept.target import open_target

    async with open_target(target, hosts=hosts, token=token) as opened:
        return await measure_all(opened, _make_alert_sender())


def _make_alert_sender() -> SendTestAlert | None:
    """Return the function of `barnabee alert test`, or None without Alertmanager."""
    from barnabee.cli import alert

    if not alert.has_alertmanager():
        return None
    return lambda limit_s: alert.send_test_alert(limit_s=limit_s)


def _print_results(results: list[CriterionResult], *, accepted: bool) -> None:
    from rich.console import Console

    from barnabee.up.console import escape

    console = Console(highlight=False, soft_wrap=True)
    width = max(len(result.name) for result in results)
    for result in results:
        value = "-" if result.value is None else f"{result.value:g} {result.unit}"
        colour = _COLOURS[result.status.value]
        source = f"  [dim]{escape(result.source)}[/]" if result.source else ""
        console.print(
            f"{result.name:<{width}}  {value:>10}  limit {result.limit:>3} {result.unit:<5}  "
            f"[{colour}]{result.status.value}[/]{source}"
        )
        if result.reason:
            console.print(f"{'':<{width}}  [{colour}]{escape(result.reason)}[/]")
    console.print("[green]accepted[/]" if accepted else "[red]not accepted[/]")
