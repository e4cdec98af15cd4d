"""The command line: list of commands and error output.

Commands import their dependencies inside functions, so that `--help` is fast.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from barnabee import __version__
from barnabee.cli import (
    alert,
    backup,
    deploy,
    deploys,
    dev,
    doctor,
    echo,
    fillers,
    health,
    install,
    logs,
    replicate,
    restore,
    say,
    secrets,
    standby,
    system_file,
    token,
    trace,
    up,
)
from barnabee.core.errors import BarnabeeError


class CommandGroup(TyperGroup):
    """Prints a BarnabeeError as message and code, and exits with its status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BarnabeeError as error:
            echo(f"barnabee: {error} [{error.code}]", err=True)
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    cls=CommandGroup,
    name="barnabee",
    help="A family's voice assistant with self-healing services and verified backups.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        echo(f"barnabee {__version__}")
        raise typer.Exit


@app.callback()
def _barnabee(
    show: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    del show


_PASS_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}

app.command("up")(up.start_deployment)
app.command("down")(up.stop_deployment)
app.command("restart")(up.restart_services)
app.command("supervise")(up.supervise_units)
app.command("status")(health.show_status)
app.command("health")(health.check_health)
app.command("doctor")(doctor.check_machine)
app.command("uninstall")(doctor.remove_installation)
app.command("accept")(health.run_acceptance)
app.command("logs")(logs.show_logs)
app.command("say")(say.say_command)
app.command("trace")(trace.show_trace)
app.command("probe")(say.run_probe)
app.command("link")(up.print_login_link)
app.command("check")(system_file.check_system_file)
app.command("compose")(system_file.write_compose_file)
app.command("restore")(restore.restore_database)
app.command("rollback-data")(restore.restore_pin)
app.command("replicate")(replicate.run_litestream)
app.add_typer(backup.app, name="backup")
app.command("deploy")(deploy.deploy_host)
app.command("deploy-initial")(install.install_host)
app.command("facts")(install.print_host_file)
app.command("switch")(deploy.switch_system)
app.command("rollback")(deploy.roll_back)
app.add_typer(deploys.app, name="deploys")
app.add_typer(secrets.app, name="secrets")
app.add_typer(alert.app, name="alert")
app.add_typer(fillers.app, name="fillers")
app.add_typer(doctor.app, name="models")
app.add_typer(system_file.app, name="vram")
app.add_typer(standby.app, name="standby")
app.add_typer(token.app, name="token")
app.command("test", context_settings=_PASS_ARGUMENTS)(dev.run_tests)
app.command("bench", context_settings=_PASS_ARGUMENTS)(dev.run_benchmarks)


def main() -> None:
    app(prog_name="barnabee")


def switch_main() -> None:
    """Run `barnabee switch`; the entry point of the program `barnabee-switch`."""
    app(["switch", *sys.argv[1:]], prog_name="barnabee")
