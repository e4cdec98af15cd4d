"""`barnabee deploy`, `switch` (also `barnabee-switch`), `rollback` and `deploys`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from barnabee.deploy.journal import Journal, Record
    from barnabee.deploy.machine import Machine
    from barnabee.deploy.nixos import NixosMachine
    from barnabee.deploy.plan import Order
    from barnabee.deploy.switch import Prepared

_BUILD_S = 4 * 3600.0

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Boot = Annotated[bool, typer.Option("--boot", help="Not now: try it at the next boot.")]
Reboot = Annotated[bool, typer.Option("--reboot", help="Restart by itself when it takes a boot.")]
WithoutPin = Annotated[
    bool, typer.Option("--without-pin", help="Go on although the database cannot be pinned.")
]


def deploy(
    host: Annotated[str, typer.Argument(help="The host, as the flake calls it.")],
    flake: Annotated[str, typer.Option("--flake", help="Where the flake is.")] = ".",
    to: Annotated[
        str | None, typer.Option("--to", metavar="USER@MACHINE", help="Default: root@HOST.")
    ] = None,
    confirm: Annotated[
        bool,
        typer.Option("--confirm/--no-confirm", help="It goes back unless it can still be reached."),
    ] = True,
    boot: Boot = False,
    reboot: Reboot = False,
    without_pin: WithoutPin = False,
    dry_run: DryRun = False,
) -> None:
    """Build a host's system here, copy it there and switch to it; it goes back unless well."""
    from barnabee.deploy import remote
    from barnabee.deploy.plan import Order

    order = Order(Path("/"), boot=boot, reboot=reboot, confirm=confirm, without_pin=without_pin)
    plan = remote.Plan(host, to or f"root@{host}", flake, order)
    if dry_run:
        for command in plan.commands():
            typer.echo(command)
        return
    _end(remote.deploy(plan, _tell))


def deploy_initial(
    host: Annotated[str, typer.Argument(help="The host, as the flake calls it.")],
    to: Annotated[
        str, typer.Option("--to", metavar="USER@MACHINE", help="Where the NixOS installer runs.")
    ],
    erase: Annotated[
        str, typer.Option("--erase", metavar="DISK", help="The disk of it, which loses everything.")
    ],
    flake: Annotated[str, typer.Option("--flake", help="Where the flake is.")] = ".",
    dry_run: DryRun = False,
) -> None:
    """Erase a machine that runs the NixOS installer, and install a host on it."""
    from barnabee.deploy import install

    plan = install.Plan(host, to, flake, erase)
    if dry_run:
        for line in plan.text():
            typer.echo(line)
        return
    install.install(plan, _tell)


def switch(
    target: Annotated[str, typer.Argument(help="A system in the store, or FLAKE or FLAKE#HOST.")],
    boot: Boot = False,
    reboot: Reboot = False,
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Put the database back when it must be.")
    ] = False,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Keep it only after `barnabee deploys confirm`.")
    ] = False,
    without_pin: WithoutPin = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the switch's id and do not wait.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Switch this machine to another system, and back by itself unless that one is well.

    Exit status: 0 kept, 1 went back, 2 refused, 3 is tried at the next boot, 4 needs a person.
    """
    from barnabee.deploy.plan import Order

    order = Order(
        _system(target),
        boot=boot,
        reboot=reboot,
        with_data=with_data,
        confirm=confirm,
        without_pin=without_pin,
    )
    _carry_out(order, detach=detach, dry_run=dry_run)


def rollback(
    generation: Annotated[
        int | None, typer.Argument(help="Its number; default: the one before.")
    ] = None,
    with_data: Annotated[
        bool,
        typer.Option("--with-data", help="Put the database back too, to the pin it can read."),
    ] = False,
    reboot: Reboot = False,
    on: Annotated[
        str | None, typer.Option("--on", metavar="USER@MACHINE", help="There, over ssh; not here.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Go back to an earlier generation, by the same gate.

    Refused when its programs could not read the database, unless --with-data puts that back too.
    """
    from barnabee.deploy import generations, remote
    from barnabee.deploy.plan import Order

    if on is not None:
        given = {"--with-data": with_data, "--reboot": reboot, "--dry-run": dry_run}
        flags = [name for name, wanted in given.items() if wanted]
        number = [] if generation is None else [str(generation)]
        raise typer.Exit(remote.over_ssh(on, ["barnabee", "rollback", *number, *flags]))
    machine, journal = _here()
    kept = journal.last_kept()
    last = Path(kept) if kept and machine.is_system(Path(kept)) else None
    target = generations.chosen(machine.profile_link, machine.running(), generation, last)
    order = Order(target, kind="rollback", with_data=with_data, reboot=reboot)
    _carry_out(order, detach=False, dry_run=dry_run)


def _system(target: str) -> Path:
    if target.startswith("/") and "#" not in target and not (Path(target) / "flake.nix").exists():
        return Path(target).resolve()
    import socket

    from barnabee.deploy import transient_unit

    return transient_unit.build(target, socket.gethostname().partition(".")[0], limit_s=_BUILD_S)


def _here() -> tuple[NixosMachine, Journal]:
    from barnabee.deploy.journal import Journal
    from barnabee.deploy.nixos import NixosMachine

    return NixosMachine(), Journal()


def _carry_out(order: Order, *, detach: bool, dry_run: bool) -> None:
    from barnabee.deploy import switch as switch_module
    from barnabee.deploy import transient_unit

    machine, journal = _here()
    prepared = switch_module.prepare(
        machine, journal, order, ask=False
    )  # what cannot be is said here
    if dry_run:
        _tell_plan(prepared, order)
        return
    _require_none(machine, journal)
    record_id = transient_unit.new_id()
    transient_unit.start(order, record_id, _program(machine, order))
    if detach:
        typer.echo(record_id)
        return
    _end(transient_unit.follow(journal, record_id, _tell))


def _require_none(machine: Machine, journal: Journal) -> None:
    """See an earlier switch to its end that nobody looks after any more; DeployBusy otherwise."""
    from barnabee.deploy import gate, switch_recovery
    from barnabee.deploy.errors import DeployBusy
    from barnabee.deploy.journal import State

    left = journal.in_flight()
    if left is not None and left.boot_id != machine.live().boot_id:
        gate.pass_through(machine, journal)
    elif left is not None:
        switch_recovery.tick(machine, journal)
    left = journal.in_flight()
    if left is not None and left.state != State.BOOTING:
        raise DeployBusy(id=left.id, state=left.state.value)


def _program(machine: Machine, order: Order) -> str:
    """Return the programs that carry it out: those that run, and the first time the new ones."""
    facts = machine.facts(machine.running()) or machine.facts(order.target)
    return facts.program if facts else "barnabee"


def _tell_plan(prepared: Prepared, order: Order) -> None:
    from barnabee.deploy.errors import DeployRefused
    from barnabee.deploy.plan import Refusal

    plan = prepared.plan
    if isinstance(plan, Refusal):
        raise DeployRefused(reason=plan.reason)
    typer.echo(
        f"{plan.action.value} to {order.target.name}; back to {plan.refuge.name} unless well"
    )
    for note in plan.notes:
        typer.echo(f"  {note}")
    if plan.restore:
        typer.echo(f"  the database is put back to {plan.restore.id} ({plan.restore.at})")


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _end(record: Record) -> None:
    from barnabee.deploy.journal import EXIT

    for note in record.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(record.sentence())
    raise typer.Exit(EXIT.get(record.state, 1))
