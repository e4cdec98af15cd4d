"""`barnabee up`, `down`, `restart` and `link`: the local deployment and its login link."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from barnabee.up.deployment import LocalDeployment

_STOP_TIMEOUT_S = 12.0
_POLL_S = 0.1
_RESTART_DELAY_MAX_S = 5  # until the runner takes the request and writes its state


def start_deployment(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run in the background.")] = False,
    demo_home: Annotated[
        bool, typer.Option("--demo-home", help="Add a real Home Assistant with demo devices.")
    ] = False,
    monitoring: Annotated[
        bool, typer.Option("--monitoring", help="Add Prometheus and Alertmanager.")
    ] = False,
    llm: Annotated[
        bool, typer.Option("--llm", help="Add a small language model on this machine.")
    ] = False,
) -> None:
    """Start all services and restart those that fail."""
    from rich.console import Console

    from barnabee.cli import fillers
    from barnabee.up import launch, run_state, setup
    from barnabee.up.console import SilentView, make_view
    from barnabee.up.deployment import make_local_deployment

    deployment = make_local_deployment(demo_home=demo_home, monitoring=monitoring, llm=llm)
    deployment.paths.make()
    run_state.require_not_running(deployment.paths)
    console = Console()
    home = setup.prepare_machine(
        deployment.system, console, demo_home=demo_home, monitoring=monitoring, llm=llm
    )
    deployment = dataclasses.replace(deployment, demo_home=home)
    fillers.ensure_fillers(deployment.system, deployment.paths.data / "fillers")
    if detach:
        _print_cleared(console, launch.run_detached(deployment, SilentView()))
        console.print(
            "started in the background: wait with `./barnabee health --wait 60`, "
            "follow with `./barnabee logs -f`, stop with `./barnabee down`",
            highlight=False,
            soft_wrap=True,
        )
        return
    view = make_view(console, lambda: _ready_text(deployment))
    launch.run_in_foreground(
        deployment, view, on_takeover=lambda names: _print_cleared(console, names)
    )


def stop_deployment() -> None:
    """Stop all services, including those of a runner that was killed."""
    from barnabee.up import orphans, paths, run_state

    local = paths.local_paths()
    runner = run_state.find_runner(local)
    if runner is not None:
        runner.terminate()
        if orphans.wait_for_exit([runner], _STOP_TIMEOUT_S):
            echo(f"the runner did not stop within {_STOP_TIMEOUT_S:.0f} s: killed", err=True)
            orphans.kill_processes([runner])
    ended = orphans.end_processes(run_state.find_orphans(local))
    local.state.unlink(missing_ok=True)
    if ended:
        echo(f"cleared {', '.join(ended)}")
    echo("stopped" if runner is not None or ended else "nothing was running")


def restart_services(
    services: Annotated[list[str], typer.Argument(metavar="SERVICE...", help="Names of services.")],
) -> None:
    """Restart services now and wait until they are ready again."""
    from barnabee.cli import database_context
    from barnabee.core import system
    from barnabee.up import paths, run_state

    units = database_context.read_units()
    if units is not None:
        _require_known(services, system.get_system().service)
        asyncio.run(units.restart(services))
    else:
        local = paths.local_paths()
        _require_known(services, run_state.require_running(local).nodes)
        before, asked_at = run_state.require_current(local), time.time()
        for name in services:
            run_state.request_restart(local, name)
        for name in services:
            _wait_for_restart(name, before.nodes[name].pid, asked_at)
    echo(f"restarted {', '.join(services)}")


def _require_known(services: list[str], known: Iterable[str]) -> None:
    from barnabee.core.errors import NotFound

    known = sorted(known)
    for name in services:
        if name not in known:
            raise NotFound(what=f"service {name!r}; known are {', '.join(known)}")


def _wait_for_restart(name: str, earlier_pid: int | None, asked_at: float) -> None:
    """Wait until node `name` is ready again; DependencyDown when it fails or takes too long."""
    from barnabee.core import system
    from barnabee.core.errors import DependencyDown
    from barnabee.up import paths, plan, run_state

    local = paths.local_paths()
    run = run_state.require_running(local)
    config = system.load_system(Path(run.system_file)).nodes()[name]
    limit_s = config.stop_timeout_s + config.startup_budget_s + _RESTART_DELAY_MAX_S
    node = run.nodes[name]
    while time.time() < asked_at + limit_s:
        if node.since >= asked_at and node.phase in plan.WAITING | plan.STUCK:
            raise DependencyDown(dependency=name, reason=node.reason)
        is_new = node.phase == plan.Phase.DONE or node.pid != earlier_pid
        if node.since >= asked_at and node.phase in plan.USABLE and is_new:
            return
        time.sleep(_POLL_S)
        node = run_state.require_running(local).nodes[name]
    waits = f"; it waits for {', '.join(node.blocked_by)}" if node.blocked_by else ""
    raise DependencyDown(dependency=name, reason=f"not ready after {limit_s} s{waits}")


def supervise_units(
    at: Annotated[
        list[str], typer.Option("--at", metavar="SERVICE=HOST", help="Service with its host.")
    ],
    files: Annotated[
        list[Path] | None, typer.Option("--file", help="File that configures the services.")
    ] = None,
) -> None:
    """Kill units that hang and start those again that failed (started by a unit)."""
    from barnabee.cli.health import parse_hosts
    from barnabee.core import logging, system
    from barnabee.up.unit_supervisor import UnitSupervisor

    services = system.get_system().service
    hosts = parse_hosts(at)
    _require_known(list(hosts), services)
    logging.configure_logging("supervisor")
    asyncio.run(UnitSupervisor(services, hosts, files or []).run())


def print_login_link() -> None:
    """Print a URL that logs in one browser, once, within 15 minutes."""
    from barnabee.up import deployment, paths, run_state

    local = paths.local_paths()
    port = run_state.require_running(local).nodes["api"].port
    echo(deployment.make_login_link(local, port or 0))


def _print_cleared(console: Console, names: list[str]) -> None:
    if names:
        text = f"ended processes of an earlier run: {', '.join(names)}"
        console.print(text, highlight=False, soft_wrap=True)


def _ready_text(deployment: LocalDeployment) -> str:
    from barnabee.up.deployment import make_login_link

    link = make_login_link(deployment.paths, deployment.system.port("api"))
    off = "".join(f"\n  [dim]off: {line}[/]" for line in _list_disabled_features(deployment))
    question = "turn on the kitchen light" if deployment.demo_home else "what time is it"
    return f'{off}\n  dashboard login: {link}\n  now try: ./barnabee say "{question}"'.strip("\n")


def _list_disabled_features(deployment: LocalDeployment) -> list[str]:
    """Return one line for each feature that is not configured, with how to configure it."""
    from barnabee.up import secrets

    environment, directory = deployment.environment, deployment.paths.secrets
    lines = []
    if deployment.demo_home is None and not environment.get("HOME_ASSISTANT_URL"):
        lines.append(
            "home control: set HOME_ASSISTANT_URL and put a long-lived access token into "
            f"{directory / 'home_assistant_token'}, or try `./barnabee up --demo-home`"
        )
    names = ("LLM_URL", "AZURE_OPENAI_ENDPOINT")
    is_off = deployment.system.llm.provider == "none" and not any(map(environment.get, names))
    if is_off and not deployment.llm:
        lines.append(
            "free conversation: set LLM_PROVIDER, LLM_URL and LLM_MODEL and put the key into "
            f"{directory / 'llm_api_key'} (docs/guides/language-model.md), or try "
            "`./barnabee up --llm`"
        )
    if deployment.has_local_replica:
        replica = _shorten(deployment.paths.data / "s3")
        lines.append(
            f"off-site backup: the replica is on this machine ({replica}); put "
            f"{secrets.B2_KEY_ID} and {secrets.B2_KEY} into {directory}"
        )
    if deployment.monitoring:
        from barnabee.up.monitoring_services import list_missing_channels

        lines += list_missing_channels(deployment)
    return lines


def _shorten(path: Path) -> str:
    current = Path.cwd()
    return str(path.relative_to(current)) if path.is_relative_to(current) else str(path)
