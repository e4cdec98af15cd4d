"""The local deployment: what one `./barnabee up` runs, with its settings, environment and token."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from barnabee.clients.loki import parse_base_url
from barnabee.core import system
from barnabee.core.auth import Authenticator
from barnabee.core.errors import NotRunning
from barnabee.core.renamed import RENAMED_SETTINGS
from barnabee.core.schema import ServiceConfig, System
from barnabee.core.settings import Settings, read_variable
from barnabee.core.tokens import TOKENS_FILE
from barnabee.up import dashboard, home_assistant, model_pins, paths, plan, secrets
from barnabee.up.orphans import NODE_VARIABLE, RUN_ID_VARIABLE
from barnabee.up.paths import Paths

DEMO_TOKEN = "demo_home_token"  # noqa: S105 - the name of the file
_BACKUP = "backup"
# Secrets for snapshots, drills and restores; those that do not exist are left out.
_BACKUP_CREDENTIALS = (
    *(secrets.B2_KEY_ID, secrets.B2_KEY),
    *("rclone_conf", "restic_password"),
)
# Variables of the user that a service gets besides those of core.settings. No secret is among them.
_PASSED_VARIABLES = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CACHE_HOME"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE"),
    *("LD_LIBRARY_PATH", "OMP_NUM_THREADS", "BARNABEE_LITESTREAM"),
)


@dataclass(frozen=True)
class NodeCommand:
    """A node's command line.

    After an exit status in `final_statuses` the node is not restarted. A node with `creates_file`
    is not ready before that file exists.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    final_statuses: frozenset[int] = frozenset()
    creates_file: Path | None = None


@dataclass(frozen=True)
class LocalDeployment:
    """The graph, the directories and the options of one run."""

    system: System
    system_file: Path
    paths: Paths
    models: Path
    environment: Mapping[str, str]  # the user's
    demo_home: Path | None = None  # Home Assistant's virtual environment, with --demo-home
    monitoring: bool = False
    llm: bool = False  # the small language model of `model_pins`
    requested_at: float = field(default_factory=lambda: psutil.Process().create_time())

    @property
    def has_local_replica(self) -> bool:
        """Whether the replica is stored by this machine's own S3 server."""
        return "s3" in self.system.companion and secrets.is_replica_local(self.paths)

    def make_graph(self) -> plan.NodeGraph:
        """Return the nodes of this run: every service, and the companions that the options need."""
        needed = {
            "s3": self.has_local_replica,
            "home": self.demo_home is not None,
        }
        companions = {
            name: node
            for name, node in self.system.companion.items()
            if needed.get(name, self.monitoring if node.role == "monitoring" else True)
        }
        nodes: dict[str, ServiceConfig] = {**companions, **self.system.service}
        # Home Assistant creates its token at its first start; the api reads it when it starts.
        is_first_start = "home" in companions and not self._demo_home_exists()
        after = {"api": frozenset({"home"})} if is_first_start and "api" in nodes else {}
        return plan.NodeGraph(nodes, frozenset(companions), after)

    def _demo_home_exists(self) -> bool:
        token = self.paths.secrets / DEMO_TOKEN
        return token.is_file() and (self.paths.data / "home").is_dir()


CommandFactory = Callable[[LocalDeployment], NodeCommand]


def make_local_deployment(
    *, demo_home: bool = False, monitoring: bool = False, llm: bool = False
) -> LocalDeployment:
    """Return the deployment of this machine; SystemFileInvalid when system.toml is not usable."""
    file = system.find_system_file().resolve()
    places = paths.local_paths()
    if llm:
        file = model_pins.write_system_file(file, places.root)
    if loki_url := read_variable("LOKI_URL"):
        parse_base_url(loki_url)  # fails here, on the user's terminal, and not in the runner
    return LocalDeployment(
        system.load_system(file),
        file,
        places,
        paths.models_directory(),
        os.environ,
        home_assistant.find_venv() if demo_home else None,
        monitoring,
        llm,
    )


def read_api_token(paths: Paths) -> str:
    """Return the api's token; NotRunning when nothing was ever started in this directory."""
    token = secrets.read_secret(paths, secrets.API_TOKEN)
    if token is None:
        raise NotRunning
    return token


def make_login_link(paths: Paths, port: int) -> str:
    """Return a URL that logs in one browser, once."""
    key = Authenticator(read_api_token(paths)).make_link_key(time.time())
    return f"http://127.0.0.1:{port}/login?key={key}"


def make_settings(deployment: LocalDeployment) -> dict[str, str]:
    """Return the variables of core.settings: the user's, then those that the run fixes."""
    names = sorted(str(field.validation_alias) for field in Settings.model_fields.values())
    given = deployment.environment
    variables = {name: given[name] for name in (*names, *RENAMED_SETTINGS) if given.get(name)}
    if variables.get("BARNABEE_DEVICE") == "cuda":
        variables.setdefault("CUDA_VISIBLE_DEVICES", deployment.system.gpu.device)
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the driver's numbers, which NVML uses
    if deployment.demo_home is not None:
        variables["HOME_ASSISTANT_URL"] = f"http://127.0.0.1:{deployment.system.port('home')}"
    if deployment.llm:
        variables |= model_pins.make_settings(deployment.models)
    build = dashboard.find_build()
    if build is not None:
        variables.setdefault("BARNABEE_DASHBOARD", str(build))
    if deployment.has_local_replica:
        variables["BARNABEE_REPLICA_ENDPOINT"] = f"http://127.0.0.1:{deployment.system.port('s3')}"
    return variables | {
        "DATABASE_PATH": str(deployment.paths.database),
        "BARNABEE_DATA": str(deployment.paths.data),
        "BARNABEE_MODELS": str(deployment.models),
        "BARNABEE_LITESTREAM_SOCKET": str(deployment.paths.litestream_socket),
        "BARNABEE_LOG_FILE": str(deployment.paths.log),
    }


def make_node_environment(deployment: LocalDeployment, name: str) -> dict[str, str]:
    """Return the environment of node `name` and issue its credentials."""
    given = deployment.environment
    passed = {key: given[key] for key in _PASSED_VARIABLES if given.get(key)}
    token = deployment.paths.secrets / DEMO_TOKEN
    sources = {"home_assistant_token": token} if deployment.demo_home is not None else {}
    node = deployment.system.nodes()[name]
    names = [*node.credentials, *((TOKENS_FILE,) if node.module else ())]
    credentials = secrets.issue_credentials(deployment.paths, name, names, sources)
    if name == "worker":  # starts snapshots and drills, as timers do on NixOS
        backup = secrets.issue_credentials(deployment.paths, _BACKUP, _BACKUP_CREDENTIALS)
        passed |= {"BARNABEE_BACKUP_CREDENTIALS": str(backup)}
    return (
        passed
        | make_settings(deployment)
        | {
            "BARNABEE_HOME": str(deployment.paths.root),
            "BARNABEE_SYSTEM": str(deployment.system_file),
            "CREDENTIALS_DIRECTORY": str(credentials),
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PYTHONUNBUFFERED": "1",
            RUN_ID_VARIABLE: deployment.paths.run_id,
            NODE_VARIABLE: name,
        }
    )


def make_backup_environment(deployment: LocalDeployment) -> dict[str, str]:
    """Return the environment of a `barnabee backup` or `restore` that the operator starts.

    Its credentials have a directory of their own: the worker's may be in use.
    """
    credentials = secrets.issue_credentials(deployment.paths, f"{_BACKUP}-cli", _BACKUP_CREDENTIALS)
    return make_settings(deployment) | {
        "BARNABEE_HOME": str(deployment.paths.root),
        "BARNABEE_SYSTEM": str(deployment.system_file),
        "CREDENTIALS_DIRECTORY": str(credentials),
    }
