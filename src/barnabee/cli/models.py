"""`barnabee models`: the files that the inference service loads."""

from __future__ import annotations

import typer

app = typer.Typer(help="The models' files.", no_args_is_help=True)


@app.callback()
def _models() -> None:
    """Hold the group together while it has one command."""


@app.command()
def fetch() -> None:
    """Fetch the models that are missing or damaged, and check every byte."""
    import asyncio

    from rich.console import Console

    from barnabee.core import system
    from barnabee.up import paths, setup
    from barnabee.up.progress import shown

    names = setup.model_names(system.load())
    with shown(Console()) as steps:
        asyncio.run(setup.fetch_models(names, steps))
    typer.echo(f"{paths.models()}: {', '.join(names)}: whole")
