"""`barnabee status` (what the runner knows) and `barnabee health` (what the services say now)."""

from __future__ import annotations

import json as json_module
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from rich.table import Table

    from barnabee.up.cascade import Cascade
    from barnabee.up.run_state import RunState

_AGAIN_S = 0.5


def status() -> None:
    """Show what runs: phase, process, port, memory, restarts."""
    from rich.console import Console

    from barnabee.up import orphans, paths, run_state

    run = run_state.running(paths.local())
    pids = [node.pid for node in run.nodes.values() if node.pid is not None]
    Console().print(_status_table(run, orphans.memory_mib(pids)))


def health(
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", help="Wait for all to be well.")
    ] = 0.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="SERVICE=HOST", help="Ask this one there; no local run."),
    ] = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="Content with a service that works with less.")
    ] = False,
) -> None:
    """Ask every service how it is; exit 0 only when nothing is wrong.

    A service that lacks only what nobody configured (no Azure key, say) counts as well.
    """
    import asyncio

    look = _looker(at or [])
    begun_s = time.monotonic()
    seen = asyncio.run(look())

    def enough() -> bool:
        return seen.ready if ready else seen.good

    while not enough() and not seen.hopeless and time.monotonic() - begun_s < wait:
        time.sleep(_AGAIN_S)
        seen = asyncio.run(look())
    waited_s = time.monotonic() - begun_s
    if json:
        typer.echo(json_module.dumps(seen.as_dict(), indent=2))
    else:
        _print_cascade(seen, waited_s if wait else None)
    if not enough():
        raise typer.Exit(1)


def _looker(at: list[str]) -> Callable[[], Coroutine[None, None, Cascade]]:
    """Return what asks: the services of `at` where they are, or those of the local run."""
    from barnabee.up import cascade, paths, run_state

    places = places_of(at)
    if not places:
        where = paths.local()
        return lambda: cascade.ask(run_state.running(where))
    return lambda: cascade.ask_at(places)


def places_of(at: list[str]) -> dict[str, str]:
    """Return host by service of the options `--at SERVICE=HOST`; BadRequest for others. Pure."""
    from barnabee.core.errors import BadRequest

    places = dict(one.partition("=")[::2] for one in at)
    if not all(places.values()):
        raise BadRequest(field="--at", reason="it wants SERVICE=HOST")
    return places


def _print_cascade(seen: Cascade, waited_s: float | None) -> None:
    from rich.console import Console
    from rich.markup import escape

    from barnabee.up.console import COLOURS, SIGNS

    console = Console(highlight=False, soft_wrap=True)
    for name, node in seen.nodes.items():
        colour = COLOURS[node.look.state]
        why = f"  {escape(node.why)}" if node.why else ""
        sign = SIGNS[node.look.state]
        console.print(f"[{colour}]{sign} {name:<11} {node.look.state:<9}[/]{why}")
        for dependency, found in node.look.dependencies.items():
            state = str(found.get("status"))
            colour = COLOURS.get(state, "red")
            told = f"  {found.get('code')}: {found.get('message')}" if found.get("code") else ""
            console.print(
                f"    [{colour}]{SIGNS.get(state, '?')} {dependency:<16}[/]{escape(told)}"
            )
        if not node.look.good:
            for line in node.last_lines[-5:]:
                console.print(f"      [dim]{escape(line)}[/]")
    after = f" after {waited_s:.1f} s" if waited_s is not None else ""
    started = f"; the start took {seen.healthy_s:.1f} s" if seen.healthy_s else ""
    colour, verdict = ("green", "all is well") if seen.good else ("red", "not everything is well")
    console.print(f"[{colour}]{verdict}{after}{started}[/]")


def _status_table(run: RunState, memory_mib: dict[int, float]) -> Table:
    from rich.table import Table

    from barnabee.up.console import COLOURS

    table = Table(box=None, pad_edge=False)
    for heading in ("service", "phase", "health", "for", "port", "pid", "MiB", "restarts", "why"):
        table.add_column(heading)
    for name, node in run.nodes.items():
        used = f"{memory_mib[node.pid]:.0f}" if node.pid in memory_mib else ""
        for_s = f"{time.time() - node.since:.0f} s" if node.since else ""
        why = node.reason or (f"waits for {', '.join(node.blocked_by)}" if node.blocked_by else "")
        state = f"[{COLOURS[node.state]}]{node.state}[/]"
        cells = (node.phase, state, for_s, node.port, node.pid, used, node.restarts, why)
        table.add_row(name, *("" if cell is None else str(cell) for cell in cells))
    return table
