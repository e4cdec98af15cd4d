"""`barnabee link`: lets one browser in."""

from __future__ import annotations

import typer


def link() -> None:
    """Print an address that logs one browser in, once, within 15 minutes."""
    from barnabee.up import local_config as houses
    from barnabee.up import paths, run_state

    where = paths.local()
    port = run_state.running(where).nodes["api"].port
    typer.echo(houses.login_link(where, port or 0))
