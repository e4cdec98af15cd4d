"""`barnabee models`: the model files of the inference service."""

from __future__ import annotations

from typing import Annotated

import typer

from barnabee.cli import echo

app = typer.Typer(help="Fetch and seal model files.", no_args_is_help=True)


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
