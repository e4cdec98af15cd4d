"""`barnabee vram`: what the card's memory is planned for, and what an evening does to that plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from barnabee.core.schema import System
    from barnabee.gpu.vram.events import Entry

app = typer.Typer(help="The memory of the graphics card.", no_args_is_help=True)

_MIB_PER_GB = 1024  # gigabytes as the specification and card makers count them
_QUIET = {"grant", "release", "loaded", "unloaded"}
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def plan(as_json: AsJson = False) -> None:
    """Print what every model takes, the totals and what is left; fail if it cannot fit."""
    import json

    from barnabee.core import system

    facts = _facts(system.load())
    typer.echo(json.dumps(facts, indent=2) if as_json else _table(facts))


@app.command()
def simulate(
    file: Annotated[Path, typer.Argument(help="One JSON object a line: docs/reference/vram.md.")],
    as_json: AsJson = False,
) -> None:
    """Replay the requests of FILE and print every load, eviction, wait and refusal."""
    import json
    from dataclasses import asdict

    from barnabee.core import system
    from barnabee.core.errors import BadInput
    from barnabee.gpu.vram.simulate import replay
    from barnabee.gpu.vram.workload import read

    graph = system.load()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(what=f"{file} cannot be read: {error}") from error
    entries, summary = replay(graph, read(lines, graph.model, str(file)))
    if as_json:
        story = {"entries": [asdict(entry) for entry in entries], "summary": asdict(summary)}
        typer.echo(json.dumps(story, indent=2))
        return
    for entry in entries:
        if entry.kind not in _QUIET:
            typer.echo(_line(entry))
    for name, value in asdict(summary).items():
        typer.echo(f"{name}: {_figures(value)}")


def _facts(system: System) -> dict[str, Any]:
    from barnabee.core import graph

    card, totals = system.card, graph.vram_totals(system)
    usable_mib = card.vram_mib - card.headroom_mib
    return {
        "card": {
            "name": card.name,
            "vram_mib": card.vram_mib,
            "headroom_mib": card.headroom_mib,
            "usable_mib": usable_mib,
        },
        "models": {
            name: {
                "task": model.task,
                "vram_reserved_mib": model.vram_reserved_mib,
                "vram_peak_mib": model.vram_peak_mib,
                "priority": model.priority,
                "preload": model.preload,
            }
            for name, model in system.model.items()
        },
        "totals": totals,
        "left_mib": usable_mib - totals["fallback_peak_mib"],
    }


def _table(facts: dict[str, Any]) -> str:
    card, totals = facts["card"], facts["totals"]
    headroom = f"{_size(card['headroom_mib'])} of it headroom"
    lines = [
        f"{card['name']}: {_size(card['vram_mib'])}, {headroom}",
        "",
        f"{'':24}{'loaded':>20}{'peak':>20}  priority",
    ]
    for name, model in facts["models"].items():
        how = "preloaded" if model["preload"] else "when needed"
        row = _row(name, model["vram_reserved_mib"], model["vram_peak_mib"])
        lines.append(f"{row}  {model['priority']}, {how}")
    for kind, title in (("normal", "total, normal"), ("fallback", "total, fallback active")):
        lines.append(_row(title, totals[f"{kind}_reserved_mib"], totals[f"{kind}_peak_mib"]))
    lines += ["", f"left with everything at its peak: {_size(facts['left_mib'])}"]
    return "\n".join(lines)


def _row(title: str, loaded_mib: int, peak_mib: int) -> str:
    return f"{title:24}{_size(loaded_mib):>20}{_size(peak_mib):>20}"


def _size(mib: int) -> str:
    return f"{mib / _MIB_PER_GB:.1f} GB ({mib} MiB)"


def _line(entry: Entry) -> str:
    seconds, millis = divmod(entry.t_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    clock = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}.{millis:03}"
    who = f" ({entry.request.session})" if entry.request else ""
    code = f" [{entry.code}]" if entry.code else ""
    return f"{clock}  {entry.kind:<12}{entry.model}{who}: {entry.why}{code}"


def _figures(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
    return str(value)
