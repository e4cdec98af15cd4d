"""The command line: `./barnabee` and `python -m barnabee`."""

from __future__ import annotations


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text that may come from elsewhere, without what would control the terminal."""
    import typer

    from barnabee.core.logging import escape_controls

    typer.echo(escape_controls(text), err=err, nl=nl)
