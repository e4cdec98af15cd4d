"""`barnabee doctor`, `uninstall` and `models`: what is on this machine, and its removal."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from barnabee.cli import echo
from barnabee.core.errors import Misconfigured

app = typer.Typer(help="Fetch and seal model files.", no_args_is_help=True)


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


@app.command("fetch")
def fetch_models() -> None:
    """Fetch missing and damaged models and verify all files.

    The models for a CPU; with BARNABEE_DEVICE=cuda those for a GPU, about 5 GB.
    """
    import asyncio

    from rich.console import Console

    from barnabee.core import settings, system
    from barnabee.up import inventory, paths, setup
    from barnabee.up.console import show_progress

    graph = system.load_system()
    names = inventory.list_model_folders(graph, settings.read_settings(graph).device)
    with show_progress(Console()) as steps:
        names = asyncio.run(setup.fetch_models(names, steps))
    echo(f"{paths.models_directory()}: {', '.join(names)} verified")


@app.command("seal")
def seal_model(
    name: Annotated[str, typer.Argument(help="The model's directory, as in system.toml.")],
) -> None:
    """Write the manifest of a model that you made yourself: size and hash of every file.

    The inference service only loads models whose files match their manifest.
    """
    from barnabee.core import manifest
    from barnabee.up import paths

    directory = paths.models_directory() / name
    for file, entry in manifest.write_manifest(directory).items():
        echo(f"{entry.sha256}  {directory / file}")
