"""`barnabee check`: validation of system.toml, and of a host's configuration in the flake."""

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
    host: Annotated[
        str | None, typer.Option("--host", help="Check this NixOS host of the flake instead.")
    ] = None,
    flake: Annotated[str, typer.Option("--flake", help="Flake with the host.")] = ".",
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="USER@MACHINE", help="Compare the host with this machine."),
    ] = None,
) -> None:
    """Validate system.toml and print each problem with its key and what to change.

    With --host: find the placeholders of a host's configuration, and what its machine lacks.
    """
    if host is not None:
        _check_host(host, flake, to)
        return
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


def _check_host(host: str, flake: str, to: str | None) -> None:
    from barnabee.deploy import hardware, host_check

    facts = host_check.read_install_facts(flake, host)
    problems = host_check.find_problems(host, facts, hardware.read_hardware(to) if to else None)
    for problem in problems:
        echo(problem, err=True)
    if problems:
        raise typer.Exit(SystemFileInvalid.exit_code)
    compared = f" and fits {to}" if to else ""
    echo(f"{host}: ready to be installed{compared}")
