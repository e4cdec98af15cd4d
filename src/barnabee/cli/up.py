"""`barnabee up` and `barnabee down`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from barnabee.up.node_commands import House

_DOWN_LIMIT_S = 12.0


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run in the background.")] = False,
    demo_home: Annotated[
        bool, typer.Option("--demo-home", help="Add a real Home Assistant with lights to switch.")
    ] = False,
    monitoring: Annotated[
        bool, typer.Option("--monitoring", help="Add Prometheus and Alertmanager.")
    ] = False,
) -> None:
    """Start the whole house and keep it running."""
    from rich.console import Console

    from barnabee.cli import fillers
    from barnabee.up import launch, run_state, setup
    from barnabee.up import local_config as houses
    from barnabee.up.console import SilentView, make_view

    house = houses.local(demo_home=demo_home, monitoring=monitoring)
    house.paths.make()
    run_state.require_none(house.paths)
    console = Console()
    setup.prepare(house.system, console, demo_home=demo_home, monitoring=monitoring)
    fillers.ensure(house.system, house.paths.data / "fillers")
    if detach:
        _say_cleared(console, launch.detached(house, SilentView()))
        console.print(
            "started in the background: wait with `./barnabee health --wait 60`, "
            "follow with `./barnabee logs -f`, stop with `./barnabee down`",
            highlight=False,
            soft_wrap=True,
        )
        return
    view = make_view(console, lambda: _farewell(house))
    launch.run(house, view, on_takeover=lambda names: _say_cleared(console, names))


def down() -> None:
    """Stop the house, and whatever a killed runner left behind."""
    from barnabee.up import orphans, paths, run_state

    where = paths.local()
    runner = run_state.runner(where)
    if runner is not None:
        runner.terminate()
        if orphans.outlive([runner], _DOWN_LIMIT_S):
            typer.echo(f"the runner did not stop within {_DOWN_LIMIT_S:.0f} s: killed", err=True)
            orphans.kill([runner])
    left = orphans.end(run_state.left(where))
    where.state.unlink(missing_ok=True)
    if left:
        typer.echo(f"cleared {', '.join(left)}")
    typer.echo("stopped" if runner is not None or left else "nothing was running")


def _say_cleared(console: Console, names: list[str]) -> None:
    if names:
        text = f"cleared what an earlier run left: {', '.join(names)}"
        console.print(text, highlight=False, soft_wrap=True)


def _farewell(house: House) -> str:
    from barnabee.up import local_config as houses

    link = houses.login_link(house.paths, house.system.port("api"))
    off = "".join(f"\n  [dim]off: {line}[/]" for line in houses.what_is_off(house))
    question = "turn on the kitchen light" if house.demo_home else "what time is it"
    return f'{off}\n  log a browser in: {link}\n  now try: ./barnabee say "{question}"'.strip("\n")
