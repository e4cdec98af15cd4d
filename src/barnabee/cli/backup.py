"""`barnabee backup`: how safe what the house remembers is, and what can be done for it."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Backups of the database.", no_args_is_help=True)


@app.command()
def pin(
    reason: Annotated[str, typer.Option("--reason", help="What the pin is for.")] = "by hand",
) -> None:
    """Remember this moment, so that `barnabee rollback-data` can return to it."""
    from barnabee.cli.place import chosen_settings
    from barnabee.store import litestream, pins

    settings = chosen_settings()
    found = pins.pin(settings.database_path, reason, litestream.txid_asker(settings))
    at = f"transaction {found.txid}" if found.txid else "litestream was not asked"
    typer.echo(f"{found.id}: schema {found.schema}, {at}")
