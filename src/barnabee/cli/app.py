"""The list of commands, and how an error leaves: one sentence on standard error, then its code.

Commands import what they need inside, so that `--help` and `logs` answer at once.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from barnabee import __version__
from barnabee.cli import (
    accept,
    alert,
    backup,
    check,
    compose,
    deploy,
    deploys,
    dev,
    fillers,
    health,
    link,
    logs,
    models,
    probe,
    replicate,
    restore,
    say,
    standby,
    trace,
    up,
    vram,
)
from barnabee.core.errors import BarnabeeError


class Commands(TyperGroup):
    """A group whose commands end with the sentence, the code and the exit status of an error."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BarnabeeError as error:
            typer.echo(f"barnabee: {error} [{error.code}]", err=True)
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    cls=Commands,
    name="barnabee",
    help="A family's voice assistant that heals itself and proves its backup.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"barnabee {__version__}")
        raise typer.Exit


@app.callback()
def _barnabee(
    show: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
) -> None:
    """Hold what all commands share."""
    del show


_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

app.command("up")(up.up)
app.command("down")(up.down)
app.command("status")(health.status)
app.command("health")(health.health)
app.command("accept")(accept.accept)
app.command("logs")(logs.logs)
app.command("say")(say.say)
app.command("trace")(trace.trace)
app.command("probe")(probe.probe)
app.command("link")(link.link)
app.command("check")(check.check)
app.command("compose")(compose.compose)
app.command("restore")(restore.restore)
app.command("rollback-data")(restore.rollback_data)
app.command("replicate")(replicate.replicate)
app.add_typer(backup.app, name="backup")
app.command("deploy")(deploy.deploy)
app.command("deploy-initial")(deploy.deploy_initial)
app.command("switch")(deploy.switch)
app.command("rollback")(deploy.rollback)
app.add_typer(deploys.app, name="deploys")
app.add_typer(alert.app, name="alert")
app.add_typer(fillers.app, name="fillers")
app.add_typer(models.app, name="models")
app.add_typer(vram.app, name="vram")
app.add_typer(standby.app, name="standby")
app.command("test", context_settings=_PASS_ON)(dev.run_tests)
app.command("bench", context_settings=_PASS_ON)(dev.bench)


def main() -> None:
    """Run the command line."""
    app(prog_name="barnabee")


def switch() -> None:
    """Run `barnabee switch`: what the program `barnabee-switch` of a host is."""
    app(["switch", *sys.argv[1:]], prog_name="barnabee")
