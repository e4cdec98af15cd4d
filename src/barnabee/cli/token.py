"""`barnabee token`: tokens of the services and of single clients, such as satellites."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.cli import echo
from barnabee.core.tokens import OVERLAP_S, Scope

if TYPE_CHECKING:
    from barnabee.core.tokens import TokenStore

_STATE = "BARNABEE_TOKEN_STATE"  # set on NixOS

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Such as kitchen-satellite.")]


@app.callback()
def token_group(
    context: typer.Context,
    secrets: Annotated[
        Path | None,
        typer.Option("--secrets", metavar="DIR", help="The secrets of a Compose deployment."),
    ] = None,
) -> None:
    """Tokens by scope: talk, infer, metrics and admin."""
    context.obj = secrets


@app.command("list")
def list_tokens(context: typer.Context) -> None:
    """List the tokens that are accepted."""
    for entry in _open_store(context).list_entries():
        created = datetime.fromtimestamp(entry.created_s, UTC).strftime("%Y-%m-%d")
        kind = "" if entry.is_named else " (the services' own)"
        echo(f"{entry.name:<40} {entry.scope:<8} since {created}{kind}")


@app.command("add")
def add_token(
    context: typer.Context,
    name: NameArgument,
    scope: Annotated[Scope, typer.Option("--scope", help="What it may do.")] = Scope.TALK,
) -> None:
    """Print a new token for a client. It cannot be shown again."""
    echo(_open_store(context).add(name, scope))


@app.command("revoke")
def revoke_token(context: typer.Context, name: NameArgument) -> None:
    """Refuse a client's token from now on, and end its streams and conversations."""
    _open_store(context).revoke(name)
    echo(f"{name} is refused within 2 s.", err=True)


@app.command("rotate")
def rotate_token(
    context: typer.Context,
    scope: Annotated[Scope, typer.Argument(metavar="SCOPE", help="talk, infer, metrics or admin.")],
) -> None:
    """Replace the services' own token of a scope while they run."""
    from barnabee.core.errors import BadRequest
    from barnabee.core.settings import read_variable

    if scope == Scope.ADMIN and context.obj is None and read_variable(_STATE):
        reason = "replace the secret api_token on every host, and restart barnabee-tokens.service"
        raise BadRequest(field="SCOPE", reason=reason)
    _open_store(context).rotate(scope)
    echo(f"The {scope} token is new; the old one is refused after {OVERLAP_S} s.", err=True)
    if scope == Scope.ADMIN:
        text = "The services' other tokens are new as well, and all browsers are logged out."
        echo(text, err=True)


@app.command("write", hidden=True)
def write_tokens(context: typer.Context) -> None:
    """Write the token files that are missing or old."""
    _open_store(context).refresh()


def _open_store(context: typer.Context) -> TokenStore:
    """Return the store of `--secrets`, of a NixOS host, or of the local run."""
    from barnabee.core.settings import read_variable, require_credential
    from barnabee.core.tokens import TokenStore
    from barnabee.up import paths, secrets

    directory: Path | None = context.obj
    if directory is not None:
        return secrets.open_token_store(directory, directory / "tokens")
    if state := read_variable(_STATE):
        copies = Path(read_variable("BARNABEE_TOKEN_COPIES"))
        return TokenStore(Path(state), require_credential(Scope.ADMIN.credential), copies)
    local = paths.local_paths()
    return secrets.open_token_store(local.secrets, local.run / "credentials")
