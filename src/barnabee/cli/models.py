"""`barnabee models`: the files that the inference service loads."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="The models' files.", no_args_is_help=True)


@app.command()
def fetch() -> None:
    """Fetch the models that are missing or damaged, and check every byte.

    Those of a CPU; with BARNABEE_DEVICE=cuda those of a card, about 5 GB.
    """
    import asyncio

    from rich.console import Console

    from barnabee.core import settings, system
    from barnabee.up import paths, setup
    from barnabee.up.progress import shown

    graph = system.load()
    names = setup.model_names(graph, settings.load(graph).device)
    with shown(Console()) as steps:
        whole = asyncio.run(setup.fetch_models(names, steps))
    typer.echo(f"{paths.models()}: {', '.join(whole)}: whole")


@app.command()
def seal(name: Annotated[str, typer.Argument(help="The folder, as in system.toml.")]) -> None:
    """Write down size and hash of every file of a model that you made yourself.

    The inference service loads no folder without this, and refuses it once a byte has changed.
    """
    from barnabee.core import manifest
    from barnabee.up import paths

    folder = paths.models() / name
    for file, entry in manifest.write(folder).items():
        typer.echo(f"{entry.sha256}  {folder / file}")
