"""`barnabee check`: is system.toml right, and if not, what is to be done where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barnabee.core.errors import SystemFileInvalid


def check(
    file: Annotated[
        Path | None, typer.Argument(help="The file; default: the one that `up` uses.")
    ] = None,
) -> None:
    """Validate system.toml: each problem with file, key and what to do."""
    from barnabee.core import graph, system

    path = file or system.default_path()
    try:
        found = system.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError):
        system.load(path)  # says why it cannot be read
        raise
    if not isinstance(found, system.System):
        for problem in found:
            typer.echo(str(problem), err=True)
        raise typer.Exit(SystemFileInvalid.exit_code)
    peak_mib = graph.vram_totals(found)["fallback_peak_mib"]
    typer.echo(
        f"{path}: {len(found.service)} services, {len(found.companion)} companions, "
        f"{len(found.model)} models with {peak_mib} of {found.card.vram_mib} MiB at peak: all well"
    )
