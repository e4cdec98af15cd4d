"""Start of a deployment: pre-flight checks, then the runner in this process or detached.

A detached runner is forked, so that errors found before anything starts (a taken port, another
runner) are still raised in the user's process. `run_nodes` starts single nodes without the runner.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn

from barnabee.core.errors import BarnabeeError, DependencyDown, PortTaken
from barnabee.core.schema import ServiceConfig
from barnabee.core.system import load_system
from barnabee.up import orphans, run_state, secrets
from barnabee.up.deployment import CommandFactory, LocalDeployment, make_node_environment
from barnabee.up.logfile import RunView
from barnabee.up.node_commands import COMMANDS, make_command
from barnabee.up.paths import Paths
from barnabee.up.runner import Runner

_POLL_S = 0.05


def run_in_foreground(
    deployment: LocalDeployment,
    view: RunView,
    *,
    commands: Mapping[str, CommandFactory] = COMMANDS,
    on_takeover: Callable[[list[str]], None] = lambda _: None,
) -> None:
    """Run until a signal stops it; `on_takeover` gets the names of the ended orphans."""
    with take_over(deployment) as ended:
        on_takeover(ended)
        asyncio.run(_run(deployment, view, commands))


async def _run(
    deployment: LocalDeployment, view: RunView, commands: Mapping[str, CommandFactory]
) -> None:
    await Runner(deployment, view, commands=commands).run()


def run_detached(
    deployment: LocalDeployment,
    view: RunView,
    *,
    commands: Mapping[str, CommandFactory] = COMMANDS,
) -> list[str]:
    """Run in a process of its own; return the ended orphans once it has taken over.

    Raises the errors of `take_over`.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _become_runner(deployment, view, commands, write_end)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end, encoding="utf-8") as pipe:
        text = pipe.read()
    message: dict[str, Any] = json.loads(text) if text else {"error": "The runner did not start"}
    if "error" in message:
        raise _RunnerError(**message)
    return list(message["cleared"])


class _RunnerError(BarnabeeError):
    """{error}"""  # noqa: D415 - the sentence of the other process has its own full stop

    def __init__(self, error: str, code: str = "internal", exit_code: int = 1) -> None:
        self.code = code  # type: ignore[misc]
        self.exit_code = exit_code  # type: ignore[misc]
        super().__init__(error=error)


def _become_runner(
    deployment: LocalDeployment,
    view: RunView,
    commands: Mapping[str, CommandFactory],
    write_end: int,
) -> NoReturn:
    os.setsid()
    if os.fork() != 0:  # a second time, so that it can never acquire a terminal
        os._exit(0)
    _redirect_output(deployment)

    def send(message: Mapping[str, object]) -> None:
        os.write(write_end, json.dumps(message).encode())
        os.close(write_end)

    status = 1
    try:
        run_in_foreground(
            deployment,
            view,
            commands=commands,
            on_takeover=lambda names: send({"cleared": names}),
        )
        status = 0
    except BarnabeeError as error:
        send({"error": str(error), "code": error.code, "exit_code": error.exit_code})
    finally:
        sys.stderr.flush()
        os._exit(status)


def _redirect_output(deployment: LocalDeployment) -> None:
    deployment.paths.make()
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = os.open(deployment.paths.log.parent / "runner.err", os.O_WRONLY | os.O_CREAT, 0o600)
    for source, target in ((nothing, 0), (nothing, 1), (errors, 2)):
        os.dup2(source, target)


def find_running_deployment(paths: Paths) -> LocalDeployment | None:
    """Return the deployment that runs in this directory, with the options it was started with."""
    runner, run = run_state.find_runner(paths), run_state.read_state(paths)
    if runner is None or run is None:
        return None
    file = Path(run.system_file)
    return LocalDeployment(
        load_system(file),
        file,
        paths,
        Path(run.models),
        runner.environ(),
        Path(run.demo_home) if run.demo_home else None,
        run.monitoring,
        run.llm,
    )


# ---- pre-flight checks --------------------------------------------------------------------------


@contextmanager
def take_over(deployment: LocalDeployment) -> Iterator[list[str]]:
    """Hold the directory's lock for one runner; yield the names of the orphans that were ended.

    Raises AlreadyRunning, PortTaken or SettingMissing before anything is started.
    """
    deployment.paths.make()
    with run_state.hold_lock(deployment.paths):
        try:
            secrets.ensure_secrets(deployment.paths)
            ended = orphans.end_processes(run_state.find_orphans(deployment.paths))
            bind = deployment.environment.get("BARNABEE_BIND") or "127.0.0.1"
            require_free_ports(deployment.make_graph().nodes, bind)
            yield ended
        finally:
            secrets.revoke_credentials(deployment.paths)


def require_free_ports(nodes: Mapping[str, ServiceConfig], bind: str) -> None:
    """Raise PortTaken for the first port in use, with its owner where visible."""
    for name, node in nodes.items():
        for host in dict.fromkeys(("127.0.0.1", bind)):
            if node.port is not None and is_port_taken(host, node.port):
                from barnabee.core.serve import find_port_owner  # noqa: PLC0415 - only for the message

                raise PortTaken(port=node.port, service=name, owner=find_port_owner(node.port))


def is_port_taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
            attempt.listen(1)
        except OSError:
            return True
    return False


# ---- single nodes -------------------------------------------------------------------------------


@contextmanager
def run_nodes(deployment: LocalDeployment, names: Sequence[str]) -> Iterator[None]:
    """Start the nodes, wait until they accept connections, and end them after the block."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(_run_node(deployment, name))
        yield


@contextmanager
def _run_node(deployment: LocalDeployment, name: str) -> Iterator[None]:
    command = make_command(name, deployment)
    environment = make_node_environment(deployment, name) | dict(command.environment)
    process = subprocess.Popen(
        command.argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        node = deployment.system.nodes()[name]
        deadline_s = time.monotonic() + node.startup_budget_s
        _wait_for_port(name, process, node.port or 0, deadline_s)
        yield
    finally:
        orphans.end_processes(orphans.find_processes(deployment.paths.run_id, name))
        process.wait()


def _wait_for_port(
    name: str, process: subprocess.Popen[bytes], port: int, deadline_s: float
) -> None:
    while process.poll() is None and time.monotonic() < deadline_s:
        with closing(socket.socket()) as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_POLL_S)
    raise DependencyDown(dependency=name, reason=f"no connection on port {port}")
