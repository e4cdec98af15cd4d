"""`barnabee vram`: the GPU memory plan of system.toml, and its simulation with a request trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.core.schema import System
    from barnabee.gpu.vram.types import LedgerEvent

app = typer.Typer(help="Plan and simulate GPU memory.", no_args_is_help=True)

_MIB_PER_GB = 1024  # gigabytes as the specification and GPU vendors count them
_ROUTINE_KINDS = {"grant", "release", "loaded", "unloaded"}
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("plan")
def show_plan(as_json: JsonOption = False) -> None:
    """Print each model's memory, the totals and the rest; fail if the models do not fit."""
    import json

    from barnabee.core import system

    facts = _collect_facts(system.load_system())
    echo(json.dumps(facts, indent=2) if as_json else _format_table(facts))


@app.command("simulate")
def simulate_trace(
    file: Annotated[
        Path,
        typer.Argument(help="Request trace, one JSON object per line; see docs/reference/vram.md."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Replay the requests in FILE and print all loads, evictions, waits and refusals."""
    import json
    from dataclasses import asdict

    from barnabee.core import system
    from barnabee.core.errors import BadInput
    from barnabee.gpu.vram.simulate import replay_trace
    from barnabee.gpu.vram.workload import read_trace

    graph = system.load_system()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(what=f"{file} cannot be read: {error}") from error
    events, summary = replay_trace(graph, read_trace(lines, graph.model, str(file)))
    if as_json:
        result = {"entries": [asdict(event) for event in events], "summary": asdict(summary)}
        echo(json.dumps(result, indent=2))
        return
    for event in events:
        if event.kind not in _ROUTINE_KINDS:
            echo(_format_event(event))
    for name, value in asdict(summary).items():
        echo(f"{name}: {_format_value(value)}")


def _collect_facts(system: System) -> dict[str, Any]:
    from barnabee.core import graph

    gpu, totals = system.gpu, graph.compute_vram_totals(system)
    usable_mib = gpu.usable_mib
    return {
        "card": {
            "name": gpu.name,
            "vram_mib": gpu.vram_mib,
            "headroom_mib": gpu.headroom_mib,
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


def _format_table(facts: dict[str, Any]) -> str:
    gpu, totals = facts["card"], facts["totals"]
    headroom = f"including {_format_size(gpu['headroom_mib'])} headroom"
    lines = [
        f"{gpu['name']}: {_format_size(gpu['vram_mib'])}, {headroom}",
        "",
        f"{'':24}{'loaded':>20}{'peak':>20}  priority",
    ]
    for name, model in facts["models"].items():
        loading = "preloaded" if model["preload"] else "on demand"
        row = _format_row(name, model["vram_reserved_mib"], model["vram_peak_mib"])
        lines.append(f"{row}  {model['priority']}, {loading}")
    for kind, title in (("normal", "total, normal"), ("fallback", "total, fallback active")):
        lines.append(_format_row(title, totals[f"{kind}_reserved_mib"], totals[f"{kind}_peak_mib"]))
    lines += ["", f"free with all speech models at their peak: {_format_size(facts['left_mib'])}"]
    return "\n".join(lines)


def _format_row(title: str, loaded_mib: int, peak_mib: int) -> str:
    return f"{title:24}{_format_size(loaded_mib):>20}{_format_size(peak_mib):>20}"


def _format_size(mib: int) -> str:
    return f"{mib / _MIB_PER_GB:.1f} GB ({mib} MiB)"


def _format_event(event: LedgerEvent) -> str:
    seconds, millis = divmod(event.t_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    clock = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}.{millis:03}"
    session = f" ({event.request.session})" if event.request else ""
    code = f" [{event.code}]" if event.code else ""
    return f"{clock}  {event.kind:<12}{event.model}{session}: {event.why}{code}"


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
    return str(value)
