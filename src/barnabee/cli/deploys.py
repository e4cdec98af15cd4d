"""`barnabee deploys`: records of switches, and the commands that units run (run, watch, gate)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.deploy.journal import SwitchRecord

app = typer.Typer(help="Switches of this machine, and their outcomes.")

_NOT_HEALTHY = 5  # exit status of the gate, for which systemd does not restart it

Id = Annotated[str, typer.Argument(metavar="ID", help="The switch.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback(invoke_without_command=True)
def list_switches(ctx: typer.Context) -> None:
    """List the switches of this machine, newest last."""
    from barnabee.deploy.journal import SwitchJournal

    if ctx.invoked_subcommand is None:
        for record in SwitchJournal().list_records():
            echo(f"{record.id}  {record.state.value:<10} {record.summary()}")


@app.command("show")
def show_switch(record_id: Id, as_json: Json = False) -> None:
    """Show one switch, step by step."""
    from barnabee.deploy.journal import SwitchJournal

    record = SwitchJournal().find(record_id)
    echo(record.model_dump_json(indent=2) if as_json else _describe(record))


@app.command("follow")
def follow_switch(record_id: Id) -> None:
    """Follow a switch to its end."""
    from barnabee.deploy import executor
    from barnabee.deploy.journal import EXIT_STATUS, SwitchJournal

    record = executor.follow_switch(SwitchJournal(), record_id, echo)
    echo(record.summary())
    raise typer.Exit(EXIT_STATUS.get(record.state, 1))


@app.command("confirm")
def confirm_switch(record_id: Id) -> None:
    """Confirm that the machine is reachable, so that a waiting switch does not roll back."""
    from barnabee.deploy.journal import SwitchJournal

    SwitchJournal().confirm(record_id)


@app.command("run", hidden=True)
def run_switch(
    record_id: Id,
    target: Annotated[Path, typer.Argument(help="The system.")],
    kind: Annotated[str, typer.Option("--kind")] = "switch",
    boot: Annotated[bool, typer.Option("--boot")] = False,
    reboot: Annotated[bool, typer.Option("--reboot")] = False,
    with_data: Annotated[bool, typer.Option("--with-data")] = False,
    confirm: Annotated[bool, typer.Option("--confirm")] = False,
    without_pin: Annotated[bool, typer.Option("--without-pin")] = False,
) -> None:
    """Run a switch in this process; started by the transient unit of `barnabee switch`."""
    from barnabee.core import logging
    from barnabee.deploy import switch
    from barnabee.deploy.journal import EXIT_STATUS, SwitchJournal
    from barnabee.deploy.nixos import NixosMachine
    from barnabee.deploy.plan import SwitchRequest

    logging.configure_logging("deploy")
    known_kind: Literal["switch", "rollback"] = "rollback" if kind == "rollback" else "switch"
    request = SwitchRequest(target, known_kind, boot, reboot, with_data, confirm, without_pin)
    record = switch.run_switch(NixosMachine(), SwitchJournal(), request, record_id)
    raise typer.Exit(EXIT_STATUS.get(record.state, 1))


@app.command("watch", hidden=True)
def recover_switch() -> None:
    """Finish an interrupted switch; a timer runs this while one is in progress."""
    from barnabee.core import logging
    from barnabee.deploy import gate
    from barnabee.deploy.journal import SwitchJournal
    from barnabee.deploy.nixos import NixosMachine

    logging.configure_logging("deploy")
    gate.recover_switch(NixosMachine(), SwitchJournal())


@app.command("gate", hidden=True)
def check_boot() -> None:
    """Check whether this boot is healthy; runs before boot-complete.target."""
    from barnabee.core import logging
    from barnabee.deploy.gate import run_gate
    from barnabee.deploy.host_secrets import read_host_secrets
    from barnabee.deploy.journal import SwitchJournal
    from barnabee.deploy.nixos import NixosMachine

    logging.configure_logging("deploy")
    verdict = run_gate(NixosMachine(), SwitchJournal())
    if verdict.why:
        echo(verdict.why, err=True)
    if not verdict.is_good:
        host = read_host_secrets()
        if host is not None and (missing := host.list_missing()):
            echo(f"Missing secrets: {', '.join(missing)}. {host.remedy()}.", err=True)
        raise typer.Exit(_NOT_HEALTHY)


def _describe(record: SwitchRecord) -> str:
    pin = f"{record.pin.id} (transaction {record.pin.txid})" if record.pin else "none"
    lines = [
        f"{record.id}: {record.kind}, {record.summary()}",
        f"from {record.previous}",
        f"to   {record.target}",
        f"pin  {pin}",
        *(f"note {note}" for note in record.notes),
        *(f"  {step.describe()}" for step in record.steps),
    ]
    return "\n".join(lines)
