"""The graph as a Compose file, for machines without NixOS and Proxmox.

Pure. Connects the images of pkgs/images/oci.nix: names, ports, volumes, secrets, limits, health,
order. Programs, models and the command are part of an image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from barnabee.core import graph
from barnabee.core.schema import ServiceConfig, System
from barnabee.core.settings import Settings
from barnabee.up.node_commands import make_redis_options

NAME = "barnabee"
NETWORK = "internal"
USER = 990  # of pkgs/images/oci.nix: owns /data and may read the secrets
HTTP, HTTPS = 80, 443
PROXY = "proxy"
BEHIND_THE_PROXY = ("api", "voice")
TLS = ("tls_certificate", "tls_key")
SYSTEM_FILE = "/etc/barnabee/system.toml"
SECRETS = "/run/secrets"  # where Compose puts them
RUNTIME = "/run/barnabee-litestream"
# The specification's figures. During the start the checks run every START_INTERVAL_S, or each step
# of the cascade would take half a minute.
INTERVAL_S, TIMEOUT_S, RETRIES, START_INTERVAL_S = 30, 10, 3, 2

# Set inside the images, or used only without containers.
_NOT_SET = frozenset({"BARNABEE_MODELS", "BARNABEE_DEVICE", "BARNABEE_FILLERS"})
_VOLUMES = {
    "redis": ["redis-data:/data"],
    "gpu": ["model-cache:/cache"],
    "restore": ["barnabee-data:/data"],
    "voice": ["barnabee-data:/data:ro"],
    "litestream": ["barnabee-data:/data", f"litestream-socket:{RUNTIME}"],
    "api": ["barnabee-data:/data", f"litestream-socket:{RUNTIME}"],
    "worker": ["barnabee-data:/data", f"litestream-socket:{RUNTIME}"],
}
# Published on loopback only: clients use the proxy, and WebRTC reaches the voice service.
_LOOPBACK = ("api", "gpu")


@dataclass(frozen=True)
class ComposeOptions:
    """Choices of the machine that runs the Compose file."""

    tag: str  # of the images: the version
    system_file: str = "./system.toml"
    secrets: str = "./secrets"
    data: str = "/mnt/barnabee/data"
    has_gpu: bool = True


def make_compose_file(system: System, options: ComposeOptions) -> dict[str, Any]:
    """Return the Compose file as plain data."""
    after = graph.compute_start_dependencies(system.service)
    services = {
        name: _service(name, node, system, options, after[name])
        for name, node in system.service.items()
    }
    proxied = {name: _condition(system.service[name]) for name in BEHIND_THE_PROXY}
    services[PROXY] = _proxy(proxied, options)
    secrets = sorted({name for item in services.values() for name in item.get("secrets", ())})
    return {
        "name": NAME,
        "services": services,
        "networks": {NETWORK: {"name": NAME}},
        "volumes": {
            "barnabee-data": {
                "driver": "local",
                "driver_opts": {"type": "none", "o": "bind", "device": options.data},
            },
            "litestream-socket": {},
            "model-cache": {},
            "redis-data": {},
        },
        "secrets": {name: {"file": f"{options.secrets}/{name}"} for name in secrets},
    }


def image_name(name: str, options: ComposeOptions) -> str:
    """Return the image of a service with its tag."""
    variant = "-cpu" if name == "gpu" and not options.has_gpu else ""
    return f"{NAME}-{name}{variant}:{options.tag}"


def make_environment(system: System) -> dict[str, str]:
    """Return the environment of our services: addresses, then settings that `.env` may change."""
    fixed = {
        "API_URL": f"http://api:{system.port('api')}",
        "BARNABEE_BIND": "0.0.0.0",
        "BARNABEE_DATA": "/data",
        "BARNABEE_LITESTREAM_SOCKET": f"{RUNTIME}/litestream.sock",
        "BARNABEE_SYSTEM": SYSTEM_FILE,
        "CREDENTIALS_DIRECTORY": SECRETS,
        "DATABASE_PATH": "/data/barnabee.db",
        "GPU_SERVICE_URL": f"http://gpu:{system.port('gpu')}",
        "REDIS_URL": f"redis://redis:{system.port('redis')}/0",
        "VOICE_URL": f"http://voice:{system.port('voice')}",
    }
    for name in ("voice", "worker", "litestream"):
        if name in system.service:
            fixed[f"{name.upper()}_URL"] = f"http://{name}:{system.port(name)}"
    return fixed | dict(_variable_settings(set(fixed)))


def _variable_settings(fixed: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the other names of core.settings as references to `.env` with their defaults."""
    for field in Settings.model_fields.values():
        name, default = str(field.validation_alias), field.default
        if name in fixed | _NOT_SET or not isinstance(default, str | int):
            continue
        text = str(default).lower() if isinstance(default, bool) else str(default)
        yield name, f"${{{name}:-{text}}}"


def _service(
    name: str, node: ServiceConfig, system: System, options: ComposeOptions, after: list[str]
) -> dict[str, Any]:
    nodes = system.service
    is_oneshot = node.kind == "oneshot"
    is_ours = node.probe != "redis"
    depends_on = {
        other: _condition(nodes[other], is_required=other in node.needs) for other in after
    }
    volumes = list(_VOLUMES.get(name, []))
    if is_ours:
        volumes.append(f"{options.system_file}:{SYSTEM_FILE}:ro")
    return _base(name, options) | _drop_empty(
        {
            "command": None if is_ours else _redis_command(system),
            "restart": _restart(node),
            "environment": make_environment(system) if is_ours else None,
            "ports": _ports(name, node, system),
            "volumes": volumes,
            "secrets": list(node.credentials),
            "depends_on": depends_on,
            "healthcheck": None if is_oneshot else _healthcheck(name, node),
            "stop_grace_period": f"{node.stop_timeout_s}s",
            "deploy": {"resources": _resources(name, node, options)},
        }
    )


def _base(name: str, options: ComposeOptions) -> dict[str, Any]:
    """Return the keys that every container has: its names and its restrictions."""
    return {
        "image": image_name(name, options),
        "container_name": f"{NAME}-{name}",
        "networks": [NETWORK],
        "user": f"{USER}:{USER}",
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108 - inside the container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }


def _proxy(depends_on: Mapping[str, Any], options: ComposeOptions) -> dict[str, Any]:
    test = [
        "CMD",
        "curl",
        "--fail",
        "--silent",
        "--insecure",
        f"https://127.0.0.1:{HTTPS}/health/live",
    ]
    return _base(PROXY, options) | {
        "tmpfs": [f"{path}:uid={USER}" for path in ("/tmp", "/run/nginx", "/var/cache/nginx")],  # noqa: S108
        "restart": "unless-stopped",
        "ports": [f"{port}:{port}" for port in (HTTP, HTTPS)],
        "secrets": list(TLS),
        # nginx resolves a name once, so it restarts with the containers that it forwards to.
        "depends_on": {name: wait | {"restart": True} for name, wait in depends_on.items()},
        "healthcheck": _timing(test, start_s=10),
        "deploy": {"resources": {"limits": {"memory": "256M"}}},
    }


def _drop_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


def _restart(node: ServiceConfig) -> str:
    """Return Docker's policy; with its `on-failure` a daemon would not start after a reboot."""
    if node.restart == "never":
        return "no"
    return "on-failure" if node.kind == "oneshot" else "unless-stopped"


def _condition(node: ServiceConfig, *, is_required: bool = True) -> dict[str, Any]:
    is_oneshot = node.kind == "oneshot"
    found = {"condition": "service_completed_successfully" if is_oneshot else "service_healthy"}
    return found if is_required else found | {"required": False}


def _ports(name: str, node: ServiceConfig, system: System) -> list[str]:
    if name in _LOOPBACK:
        return [f"127.0.0.1:{node.port}:{node.port}"]
    if name == "voice":
        media = f"{system.talk.media_port_first}-{system.talk.media_port_last}"
        return [f"{node.port}:{node.port}", f"{media}:{media}/udp"]
    return []


def _healthcheck(name: str, node: ServiceConfig) -> dict[str, Any]:
    test = ["CMD", "barnabee", "health", "--ready", "--at", f"{name}=127.0.0.1"]
    if node.probe == "redis":
        test = ["CMD", "valkey-cli", "-p", str(node.port), "ping"]
    return _timing(test, start_s=node.startup_budget_s)


def _timing(test: list[str], start_s: int) -> dict[str, Any]:
    return {
        "test": test,
        "interval": f"{INTERVAL_S}s",
        "timeout": f"{TIMEOUT_S}s",
        "retries": RETRIES,
        "start_period": f"{start_s}s",
        "start_interval": f"{START_INTERVAL_S}s",
    }


def _resources(name: str, node: ServiceConfig, options: ComposeOptions) -> dict[str, Any]:
    limits: dict[str, Any] = {"limits": {"memory": f"{node.memory_max_mib}M"}}
    if name == "gpu" and options.has_gpu:
        device = {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
        limits["reservations"] = {"devices": [device]}
    return limits


def _redis_command(system: System) -> list[str]:
    # Without a password: none of its ports is published, and only our containers use the network.
    options = make_redis_options(system, "0.0.0.0", "/data") | {"protected-mode": "no"}
    return ["valkey-server", *(text for key in options for text in (f"--{key}", options[key]))]


# ---- YAML ---------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z/.][A-Za-z0-9_./@-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def to_yaml(value: Mapping[str, Any]) -> str:
    """Return plain data as YAML. A list directly inside a list is not supported."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, Mapping | list) and inner:
                yield f"{_scalar(key)}:"
                yield from (f"  {line}" for line in _lines(inner))
            else:
                yield f"{_scalar(key)}: {_scalar(inner)}"
        return
    for inner in value:
        first, *others = (
            list(_lines(inner)) if isinstance(inner, Mapping) and inner else [_scalar(inner)]
        )
        yield f"- {first}"
        yield from (f"  {line}" for line in others)


def _scalar(value: Any) -> str:
    """Return a plain word unquoted where YAML reads it as a string, and everything else as JSON."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
