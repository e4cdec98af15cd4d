"""`barnabee doctor` and `barnabee uninstall`: what is on this machine, and its removal."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from barnabee.core.errors import Misconfigured


def check_machine() -> None:
    """Print what is there, what is missing and how to get it; exit status 1 if `up` cannot work."""
    from rich.console import Console
    from rich.table import Table

    from barnabee.core import system
    from barnabee.up import inventory

    marks = {
        "there": "[green]ok[/]",
        "fetched": "[yellow]to fetch[/]",
        "missing": "[red]missing[/]",
        "optional": "[dim]optional[/]",
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    parts = inventory.list_parts(system.load_system())
    for part in parts:
        text = f"{part.detail}: {part.remedy}" if part.remedy else part.detail
        table.add_row(marks[part.state], part.name, text)
    Console().print(table)
    if any(part.state == "missing" for part in parts):
        raise typer.Exit(1)


def remove_installation(
    data: Annotated[
        bool, typer.Option("--data", help="Also the database, its replica, logs and secrets.")
    ] = False,
) -> None:
    """Remove everything that ./barnabee made and say what is kept."""
    from barnabee.up import paths

    script = paths.checkout_directory() / "scripts" / "uninstall.sh"
    if not script.is_file():
        raise Misconfigured(what="Only a checkout can be uninstalled")
    os.execv(script, [str(script), *(["--data"] if data else [])])  # noqa: S606 - replaces this process
