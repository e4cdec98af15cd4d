"""`barnabee vram`: the GPU memory plan of system.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.core.schema import System

app = typer.Typer(help="Plan GPU memory.", no_args_is_help=True)

_MIB_PER_GB = 1024  # gigabytes as the specification and GPU vendors count them
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("plan")
def show_plan(as_json: JsonOption = False) -> None:
    """Print each model's memory, the totals and the rest; fail if the models do not fit."""
    import json

    from barnabee.core import system

    facts = _collect_facts(system.load_system())
    echo(json.dumps(facts, indent=2) if as_json else _format_table(facts))


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
