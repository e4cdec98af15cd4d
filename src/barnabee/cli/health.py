"""`barnabee status`, `barnabee health` and `barnabee accept`: the state of a deployment."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from rich.table import Table

    from barnabee.accept.criteria import CriterionResult, SendTestAlert
    from barnabee.up.cascade import CascadeReport
    from barnabee.up.run_state import RunState

_RETRY_S = 0.5
_CONTAINER_INIT = 1  # its session has the processes of the container's service
_COLOURS = {"passed": "green", "failed": "red", "not checked": "yellow"}


def show_status() -> None:
    """Show the nodes of the run: phase, health, port, process, memory, restarts."""
    from rich.console import Console

    from barnabee.up import orphans, paths, run_state

    run = run_state.require_running(paths.local_paths())
    pids = [node.pid for node in run.nodes.values() if node.pid is not None]
    Console().print(_make_status_table(run, orphans.measure_memory_mib(pids)))
    run_state.require_current(paths.local_paths())


def check_health(
    wait_s: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", help="Wait until all are healthy.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="SERVICE=HOST", help="Probe only this service on that host."),
    ] = None,
    accept_degraded: Annotated[
        bool, typer.Option("--ready", help="Accept degraded services.")
    ] = False,
    kill_hung: Annotated[
        bool,
        typer.Option("--kill-hung", help="In a container: kill its service if it hangs."),
    ] = False,
) -> None:
    """Probe every service; exit status 0 if all are healthy.

    A service that is degraded only because an option is not configured (such as an Azure key)
    counts as healthy.
    """
    import asyncio

    probe = _make_probe(at or [])
    begun_s = time.monotonic()
    report = asyncio.run(probe())

    def is_passing() -> bool:
        return report.is_ready if accept_degraded else report.is_ok

    while not is_passing() and not report.is_stuck and time.monotonic() - begun_s < wait_s:
        time.sleep(_RETRY_S)
        report = asyncio.run(probe())
    waited_s = time.monotonic() - begun_s
    if kill_hung and any(node.result.is_silent for node in report.nodes.values()):
        _kill_hung_service()
    if as_json:
        echo(json.dumps(report.as_dict(), indent=2))
    else:
        _print_report(report, waited_s if wait_s else None)
    if not is_passing():
        raise typer.Exit(1)


def _kill_hung_service() -> None:
    """Kill the service of this container if it hangs; Docker then restarts the container."""
    from barnabee.up import orphans

    if orphans.is_hung(_CONTAINER_INIT):
        echo("the service hangs: killed", err=True)
        orphans.kill_session(_CONTAINER_INIT)


def _make_probe(at: list[str]) -> Callable[[], Coroutine[None, None, CascadeReport]]:
    """Return the probe of the services of `at`, or of those of the local run."""
    from barnabee.up import cascade, paths, run_state

    hosts = parse_hosts(at)
    if not hosts:
        local = paths.local_paths()
        return lambda: cascade.probe_run(run_state.require_running(local))
    return lambda: cascade.probe_hosts(hosts)


def parse_hosts(at: list[str]) -> dict[str, str]:
    """Return host by service of the options `--at SERVICE=HOST`, or raise BadRequest."""
    from barnabee.core.errors import BadRequest

    hosts = dict(option.partition("=")[::2] for option in at)
    if not all(hosts.values()):
        raise BadRequest(field="--at", reason="it must be SERVICE=HOST")
    return hosts


def _print_report(report: CascadeReport, waited_s: float | None) -> None:
    from rich.console import Console

    from barnabee.up.console import STATE_COLOURS, STATE_SYMBOLS, escape

    console = Console(highlight=False, soft_wrap=True)
    for name, node in report.nodes.items():
        state = node.result.state
        colour, symbol = STATE_COLOURS[state], STATE_SYMBOLS[state]
        reason = f"  {escape(node.reason)}" if node.reason else ""
        console.print(f"[{colour}]{symbol} {name:<11} {state:<9}[/]{reason}")
        for dependency, fields in node.result.dependencies.items():
            status = str(fields.get("status"))
            colour, symbol = STATE_COLOURS.get(status, "red"), STATE_SYMBOLS.get(status, "?")
            detail = f"  {fields['code']}: {fields.get('message')}" if fields.get("code") else ""
            console.print(f"    [{colour}]{symbol} {dependency:<16}[/]{escape(detail)}")
        if not node.result.is_ok:
            for line in node.last_lines[-5:]:
                console.print(f"      [dim]{escape(line)}[/]")
    if report.problem:
        console.print(f"[red]{escape(report.problem)}[/]")
    waited = f" after {waited_s:.1f} s" if waited_s is not None else ""
    start = f"; the start took {report.healthy_s:.1f} s" if report.healthy_s else ""
    if report.is_ok:
        console.print(f"[green]all services are healthy{waited}{start}[/]")
    else:
        console.print(f"[red]not all services are healthy{waited}{start}[/]")


def _make_status_table(run: RunState, memory_mib: dict[int, float]) -> Table:
    from rich.table import Table

    from barnabee.up.console import STATE_COLOURS, escape

    table = Table(box=None, pad_edge=False)
    headings = ("service", "phase", "health", "for", "port", "pid", "MiB", "restarts", "reason")
    for heading in headings:
        table.add_column(heading)
    for name, node in run.nodes.items():
        used_mib = f"{memory_mib[node.pid]:.0f}" if node.pid in memory_mib else ""
        phase_s = f"{time.time() - node.since:.0f} s" if node.since else ""
        waiting = f"waits for {', '.join(node.blocked_by)}" if node.blocked_by else ""
        reason = escape(node.reason or waiting)
        state = f"[{STATE_COLOURS[node.state]}]{node.state}[/]"
        cells = (node.phase, state, phase_s, node.port, node.pid, used_mib, node.restarts, reason)
        table.add_row(name, *("" if cell is None else str(cell) for cell in cells))
    return table


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
