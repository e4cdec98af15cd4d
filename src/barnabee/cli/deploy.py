"""`barnabee deploy`, `switch` (also `barnabee-switch`) and `rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.deploy.journal import SwitchJournal, SwitchRecord
    from barnabee.deploy.machine import Machine
    from barnabee.deploy.nixos import NixosMachine
    from barnabee.deploy.plan import SwitchRequest
    from barnabee.deploy.switch import PreparedSwitch

Host = Annotated[str, typer.Argument(help="The host's name in the flake.")]
Flake = Annotated[str, typer.Option("--flake", help="Flake with the host's configuration.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done.")]
Boot = Annotated[bool, typer.Option("--boot", help="Try the system at the next boot, not now.")]
Reboot = Annotated[bool, typer.Option("--reboot", help="Restart if the switch needs a boot.")]
WithoutPin = Annotated[
    bool, typer.Option("--without-pin", help="Do not create a restore point of the database.")
]


def deploy_host(
    host: Host,
    flake: Flake = ".",
    to: Annotated[
        str | None, typer.Option("--to", metavar="USER@MACHINE", help="Default: root@HOST.")
    ] = None,
    confirm: Annotated[
        bool,
        typer.Option("--confirm/--no-confirm", help="Roll back unless the host stays reachable."),
    ] = True,
    boot: Boot = False,
    reboot: Reboot = False,
    without_pin: WithoutPin = False,
    dry_run: DryRun = False,
) -> None:
    """Build a host's system here, copy it there and switch to it.

    The host rolls back if the system is not healthy.
    """
    from barnabee.deploy import remote
    from barnabee.deploy.plan import SwitchRequest

    request = SwitchRequest(
        Path("/"), boot=boot, reboot=reboot, confirm=confirm, without_pin=without_pin
    )
    plan = remote.DeployPlan(host, to or f"root@{host}", flake, request)
    if dry_run:
        for command in plan.describe():
            echo(command)
        return
    _exit_with(remote.deploy_host(plan, _report))


def switch_system(
    target: Annotated[str, typer.Argument(help="A store path, or FLAKE or FLAKE#HOST.")],
    boot: Boot = False,
    reboot: Reboot = False,
    with_data: Annotated[
        bool,
        typer.Option("--with-data", help="Restore the database if the system cannot read it."),
    ] = False,
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="Roll back unless `barnabee deploys confirm` is run."),
    ] = False,
    without_pin: WithoutPin = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the switch's id and do not wait.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Switch this machine to another system; it rolls back if that one is not healthy.

    Exit status: 0 switched, 1 rolled back, 2 refused, 3 tried at the next boot, 4 intervention
    needed.
    """
    from barnabee.deploy.plan import SwitchRequest

    request = SwitchRequest(
        _find_or_build(target),
        boot=boot,
        reboot=reboot,
        with_data=with_data,
        confirm=confirm,
        without_pin=without_pin,
    )
    _run_switch(request, detach=detach, dry_run=dry_run)


def roll_back(
    generation: Annotated[
        int | None, typer.Argument(help="Number of the generation; default: the previous one.")
    ] = None,
    with_data: Annotated[
        bool,
        typer.Option("--with-data", help="Restore the database too, if it is too new."),
    ] = False,
    reboot: Reboot = False,
    on: Annotated[
        str | None, typer.Option("--on", metavar="USER@MACHINE", help="Run it there, over SSH.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Switch back to an earlier generation, with the same health check.

    Refused if its programs cannot read the database, unless --with-data restores that too.
    """
    from barnabee.deploy import bootloader, remote
    from barnabee.deploy.plan import SwitchRequest

    if on is not None:
        options = {"--with-data": with_data, "--reboot": reboot, "--dry-run": dry_run}
        flags = [name for name, given in options.items() if given]
        number = [] if generation is None else [str(generation)]
        raise typer.Exit(remote.run_over_ssh(on, ["barnabee", "rollback", *number, *flags]))
    machine, journal = _open_machine()
    kept = journal.last_kept()
    last = Path(kept) if kept and machine.is_system(Path(kept)) else None
    running = machine.running_system()
    target = bootloader.choose_generation(machine.profile_link, running, generation, last)
    request = SwitchRequest(target, kind="rollback", with_data=with_data, reboot=reboot)
    _run_switch(request, detach=False, dry_run=dry_run)


def _find_or_build(target: str) -> Path:
    if target.startswith("/") and "#" not in target and not (Path(target) / "flake.nix").exists():
        return Path(target).resolve()
    import socket

    from barnabee.deploy import remote

    return remote.build_system(target, socket.gethostname().partition(".")[0])


def _open_machine() -> tuple[NixosMachine, SwitchJournal]:
    from barnabee.deploy.journal import SwitchJournal
    from barnabee.deploy.nixos import NixosMachine

    return NixosMachine(), SwitchJournal()


def _run_switch(request: SwitchRequest, *, detach: bool, dry_run: bool) -> None:
    from barnabee.deploy import executor
    from barnabee.deploy.switch import prepare_switch

    machine, journal = _open_machine()
    # Refusals without a record are raised here, before a unit is started.
    prepared = prepare_switch(machine, journal, request, check_running=False)
    if dry_run:
        _print_plan(prepared, request)
        return
    _finish_earlier_switch(machine, journal)
    record_id = executor.make_switch_id()
    executor.start_switch(request, record_id, _choose_program(machine, request))
    if detach:
        echo(record_id)
        return
    _exit_with(executor.follow_switch(journal, record_id, _report))


def _finish_earlier_switch(machine: Machine, journal: SwitchJournal) -> None:
    """Finish an earlier switch whose executor is gone; DeployBusy if one is in progress."""
    from barnabee.deploy.command import DeployBusy
    from barnabee.deploy.gate import recover_switch, run_gate
    from barnabee.deploy.journal import SwitchState

    earlier = journal.in_flight()
    if earlier is not None and earlier.boot_id != machine.read_state().boot_id:
        run_gate(machine, journal)
    elif earlier is not None:
        recover_switch(machine, journal)
    earlier = journal.in_flight()
    if earlier is not None and earlier.state != SwitchState.BOOTING:
        raise DeployBusy(id=earlier.id, state=earlier.state.value)


def _choose_program(machine: Machine, request: SwitchRequest) -> str:
    """Return the running system's `barnabee`, or for a first deployment that of the target."""
    facts = machine.read_facts(machine.running_system()) or machine.read_facts(request.target)
    return facts.program if facts else "barnabee"


def _print_plan(prepared: PreparedSwitch, request: SwitchRequest) -> None:
    from barnabee.deploy.command import DeployRefused
    from barnabee.deploy.plan import Refusal

    plan = prepared.plan
    if isinstance(plan, Refusal):
        raise DeployRefused(reason=plan.reason)
    target, fallback = request.target.name, plan.fallback.name
    echo(f"{plan.action.value} to {target}; rolls back to {fallback} if it is not healthy")
    for note in plan.notes:
        echo(f"  {note}")
    if plan.restore:
        echo(f"  the database is restored to {plan.restore.id} ({plan.restore.at})")


def _report(line: str) -> None:
    echo(line, err=True)


def _exit_with(record: SwitchRecord) -> None:
    from barnabee.deploy.journal import EXIT_STATUS

    for note in record.notes:
        echo(f"note: {note}", err=True)
    echo(record.summary())
    raise typer.Exit(EXIT_STATUS.get(record.state, 1))
