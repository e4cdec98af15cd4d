"""`barnabee check`: validation of system.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barnabee.cli import echo
from barnabee.core.errors import SystemFileInvalid


def check_system_file(
    file: Annotated[
        Path | None, typer.Argument(help="The file; default: the one that `up` uses.")
    ] = None,
) -> None:
    """Validate system.toml and print each problem with its key and what to change."""
    from barnabee.core import graph, system

    path = file or system.find_system_file()
    try:
        result = system.parse_system(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError):
        system.load_system(path)  # raises SystemFileInvalid with the reason
        raise
    if not isinstance(result, system.System):
        for problem in result:
            echo(str(problem), err=True)
        raise typer.Exit(SystemFileInvalid.exit_code)
    peak_mib = graph.compute_vram_totals(result)["fallback_peak_mib"]
    echo(
        f"{path}: {len(result.service)} services, {len(result.companion)} companions, "
        f"{len(result.model)} models with {peak_mib} of {result.gpu.vram_mib} MiB at peak: valid"
    )
