"""`barnabee link`: a login link for one browser."""

from __future__ import annotations

import typer


def print_login_link() -> None:
    """Print a URL that logs in one browser, once, within 15 minutes."""
    from barnabee.up import deployment, paths, run_state

    local = paths.local_paths()
    port = run_state.require_running(local).nodes["api"].port
    typer.echo(deployment.make_login_link(local, port or 0))
