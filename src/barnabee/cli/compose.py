"""`barnabee compose`: the graph as a Compose file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_HEADING = """\
# Written by `barnabee compose` out of {file}: change that, and write this anew.
# docs/operations.md, "Docker Compose", says what belongs beside it.
"""


def compose(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: standard output."),
    ] = None,
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="The directory of the database.")
    ] = Path("/mnt/barnabee/data"),
    secrets: Annotated[
        str, typer.Option("--secrets", metavar="DIR", help="One file for each secret.")
    ] = "./secrets",
    cpu: Annotated[
        bool, typer.Option("--cpu", help="There is no card: hear and speak on the processor.")
    ] = False,
) -> None:
    """Write the Compose file of this house; needs Docker 25 and Compose 2.20."""
    from barnabee import __version__
    from barnabee.core import system
    from barnabee.core.errors import BadRequest
    from barnabee.up.compose import Place, compose, to_yaml

    if not data.is_absolute():
        raise BadRequest(field="--data", reason="it wants an absolute path")
    file = system.default_path().resolve()
    found = system.load(file)
    place = Place(
        tag=__version__,
        system_file=_seen_from(output, file),
        secrets=secrets.rstrip("/") or "/",
        data=str(data),
        card=not cpu,
    )
    text = _HEADING.format(file=file.name) + to_yaml(compose(found, place))
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadRequest(
            field="--output", reason=f"{output} cannot be written ({error})"
        ) from error
    typer.echo(f"{output}: {len(found.service) + 1} services", err=True)


def _seen_from(output: Path | None, file: Path) -> str:
    """Return system.toml as the Compose file names it: by itself where both lie in one folder."""
    folder = (output.parent if output is not None else Path()).resolve()
    return f"./{file.name}" if file.parent == folder else str(file)
