"""`barnabee deploys`: the record of switches, and what the units of one run (watch, gate, run)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from barnabee.deploy.journal import Record

app = typer.Typer(help="What was switched on this machine, and how it went.")

_NOT_WELL = 5  # the gate's answer, no accident: systemd does not ask again

Id = Annotated[str, typer.Argument(metavar="ID", help="The switch.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback(invoke_without_command=True)
def every(ctx: typer.Context) -> None:
    """List what was switched, newest last."""
    from barnabee.deploy.journal import Journal

    if ctx.invoked_subcommand is None:
        for record in Journal().every():
            typer.echo(f"{record.id}  {record.state.value:<10} {record.sentence()}")


@app.command()
def show(record_id: Id, as_json: Json = False) -> None:
    """Show one switch, step by step."""
    from barnabee.deploy.journal import Journal

    record = Journal().find(record_id)
    typer.echo(record.model_dump_json(indent=2) if as_json else _text(record))


@app.command()
def follow(record_id: Id) -> None:
    """Follow a switch to its end."""
    from barnabee.deploy import transient_unit
    from barnabee.deploy.journal import EXIT, Journal

    record = transient_unit.follow(Journal(), record_id, typer.echo)
    typer.echo(record.sentence())
    raise typer.Exit(EXIT.get(record.state, 1))


@app.command()
def confirm(record_id: Id) -> None:
    """Say that the machine is still reached: a switch that waits for this is kept."""
    from barnabee.deploy.journal import Journal

    Journal().confirm(record_id)


@app.command(hidden=True)
def run(
    record_id: Id,
    target: Annotated[Path, typer.Argument(help="The system.")],
    kind: Annotated[str, typer.Option("--kind")] = "switch",
    boot: Annotated[bool, typer.Option("--boot")] = False,
    reboot: Annotated[bool, typer.Option("--reboot")] = False,
    with_data: Annotated[bool, typer.Option("--with-data")] = False,
    confirm: Annotated[bool, typer.Option("--confirm")] = False,
    without_pin: Annotated[bool, typer.Option("--without-pin")] = False,
) -> None:
    """Carry out a switch; the transient unit of `barnabee switch` runs this."""
    from barnabee.core import logging
    from barnabee.deploy import switch
    from barnabee.deploy.journal import EXIT, Journal
    from barnabee.deploy.nixos import NixosMachine
    from barnabee.deploy.plan import Order

    logging.configure("deploy")
    told: Literal["switch", "rollback"] = "rollback" if kind == "rollback" else "switch"
    order = Order(target, told, boot, reboot, with_data, confirm, without_pin)
    record = switch.run(NixosMachine(), Journal(), order, record_id)
    raise typer.Exit(EXIT.get(record.state, 1))


@app.command(hidden=True)
def watch() -> None:
    """Finish a switch that nobody finishes; a timer runs this while one is under way."""
    from barnabee.core import logging
    from barnabee.deploy import switch_recovery as watches
    from barnabee.deploy.journal import Journal
    from barnabee.deploy.nixos import NixosMachine

    logging.configure("deploy")
    watches.tick(NixosMachine(), Journal())


@app.command(hidden=True)
def gate() -> None:
    """Answer whether this boot is good; runs before boot-complete.target."""
    from barnabee.core import logging
    from barnabee.deploy import gate as gates
    from barnabee.deploy.journal import Journal
    from barnabee.deploy.nixos import NixosMachine

    logging.configure("deploy")
    verdict = gates.pass_through(NixosMachine(), Journal())
    if verdict.why:
        typer.echo(verdict.why, err=True)
    if not verdict.good:
        raise typer.Exit(_NOT_WELL)


def _text(record: Record) -> str:
    from barnabee.deploy.transient_unit import step_line

    pin = f"{record.pin.id} (transaction {record.pin.txid})" if record.pin else "none"
    lines = [
        f"{record.id}: {record.kind}, {record.sentence()}",
        f"from {record.previous}",
        f"to   {record.target}",
        f"pin  {pin}",
        *(f"note {note}" for note in record.notes),
        *(
            f"  {step_line(step.what, ok=step.ok, why=step.why, took_s=step.took_s)}"
            for step in record.steps
        ),
    ]
    return "\n".join(lines)
