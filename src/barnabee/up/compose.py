"""The graph as a Compose file, for a house with neither NixOS nor Proxmox.

Pure. Says how the images of pkgs/images/oci.nix are wired: names, ports, volumes, secrets, limits,
health, order. What is inside an image (programs, models, the command) the image says itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from barnabee.core import graph
from barnabee.core.schema import Service, System
from barnabee.core.settings import Settings
from barnabee.up.node_commands import redis_options

NAME = "barnabee"
USER = 990  # of pkgs/images/oci.nix: who owns /data and may read the secrets
HTTP, HTTPS = 80, 443
PROXY = "proxy"
BEHIND_THE_PROXY = ("api", "voice")
TLS = ("tls_certificate", "tls_key")
SYSTEM_FILE = "/etc/barnabee/system.toml"
SECRETS = "/run/secrets"  # where Compose puts them
RUNTIME = "/run/barnabee-litestream"
# The specification's figures. `start_interval_s`: while it starts it is asked more often, so that
# the cascade does not take half a minute for each of its steps.
INTERVAL_S, TIMEOUT_S, RETRIES, START_INTERVAL_S = 30, 10, 3, 2

# The images' own business, and what only another way of running sets.
_INSIDE = frozenset({"BARNABEE_MODELS", "BARNABEE_DEVICE", "BARNABEE_FILLERS"})
_VOLUMES = {
    "redis": ["redis-data:/data"],
    "gpu": ["model-cache:/cache"],
    "restore": ["barnabee-data:/data"],
    "voice": ["barnabee-data:/data:ro"],
    "litestream": ["barnabee-data:/data", f"litestream-socket:{RUNTIME}"],
    "api": ["barnabee-data:/data", f"litestream-socket:{RUNTIME}"],
    "worker": ["barnabee-data:/data", f"litestream-socket:{RUNTIME}"],
}
# What this machine alone may reach: the house comes in through the proxy, and to the voice.
_LOOPBACK = ("api", "gpu")


@dataclass(frozen=True)
class Place:
    """Where the house is going to run."""

    tag: str  # of the images: the version
    system_file: str = "./system.toml"
    secrets: str = "./secrets"
    data: str = "/mnt/barnabee/data"
    card: bool = True


def compose(system: System, place: Place) -> dict[str, Any]:
    """Return the Compose file as plain data."""
    after = graph.ordering(system.service)
    services = {
        name: _service(name, node, system, place, after[name])
        for name, node in system.service.items()
    }
    proxied = {name: _condition(system.service[name]) for name in BEHIND_THE_PROXY}
    services[PROXY] = _proxy(proxied, place)
    secrets = sorted({name for one in services.values() for name in one.get("secrets", ())})
    return {
        "name": NAME,
        "services": services,
        "networks": {"house": {"name": NAME}},
        "volumes": {
            "barnabee-data": {
                "driver": "local",
                "driver_opts": {"type": "none", "o": "bind", "device": place.data},
            },
            "litestream-socket": {},
            "model-cache": {},
            "redis-data": {},
        },
        "secrets": {name: {"file": f"{place.secrets}/{name}"} for name in secrets},
    }


def image(name: str, place: Place) -> str:
    """Return the image of a service."""
    variant = "-cpu" if name == "gpu" and not place.card else ""
    return f"{NAME}-{name}{variant}:{place.tag}"


def environment(system: System) -> dict[str, str]:
    """Return what every service of ours is told: where the others are, then the house's choices."""
    told = {
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
            told[f"{name.upper()}_URL"] = f"http://{name}:{system.port(name)}"
    return told | dict(_choices(set(told)))


def _choices(told: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the other names of core.settings, to be filled from `.env` beside the file."""
    for field in Settings.model_fields.values():
        name, default = str(field.validation_alias), field.default
        if name in told | _INSIDE or not isinstance(default, str | int):
            continue
        text = str(default).lower() if isinstance(default, bool) else str(default)
        yield name, f"${{{name}:-{text}}}"


def _service(
    name: str, node: Service, system: System, place: Place, after: list[str]
) -> dict[str, Any]:
    known = system.service
    once = node.kind == "oneshot"
    wanted = {other: _condition(known[other], need=other in node.needs) for other in after}
    ours = node.probe != "redis"
    volumes = list(_VOLUMES.get(name, []))
    return _frame(name, place) | _without_nothing(
        {
            "command": None if ours else _redis(system),
            "restart": _restart(node),
            "environment": environment(system) if ours else None,
            "ports": _ports(name, node, system),
            "volumes": [*volumes, f"{place.system_file}:{SYSTEM_FILE}:ro"] if ours else volumes,
            "secrets": list(node.credentials),
            "depends_on": wanted,
            "healthcheck": None if once else _healthcheck(_asked(name, node), node),
            "stop_grace_period": f"{node.stop_timeout_s}s",
            "deploy": {"resources": _resources(name, node, place)},
        }
    )


def _frame(name: str, place: Place) -> dict[str, Any]:
    """Return what every container has: its names, and what it gives up."""
    return {
        "image": image(name, place),
        "container_name": f"{NAME}-{name}",
        "networks": ["house"],
        "user": f"{USER}:{USER}",
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108 - inside the container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }


def _proxy(depends_on: Mapping[str, Any], place: Place) -> dict[str, Any]:
    test = [
        "CMD",
        "curl",
        "--fail",
        "--silent",
        "--insecure",
        f"https://127.0.0.1:{HTTPS}/health/live",
    ]
    return _frame(PROXY, place) | {
        "tmpfs": [f"{path}:uid={USER}" for path in ("/tmp", "/run/nginx", "/var/cache/nginx")],  # noqa: S108
        "restart": "unless-stopped",
        "ports": [f"{port}:{port}" for port in (HTTP, HTTPS)],
        "secrets": list(TLS),
        # nginx asks for an address once: a new container of theirs wants a new look.
        "depends_on": {name: wait | {"restart": True} for name, wait in depends_on.items()},
        "healthcheck": _timing(test, start_s=10),
        "deploy": {"resources": {"limits": {"memory": "256M"}}},
    }


def _without_nothing(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


def _restart(node: Service) -> str:
    """Return Docker's policy: its `on-failure` would not come back after a reboot."""
    if node.restart == "never":
        return "no"
    return "on-failure" if node.kind == "oneshot" else "unless-stopped"


def _condition(node: Service, *, need: bool = True) -> dict[str, Any]:
    once = node.kind == "oneshot"
    found = {"condition": "service_completed_successfully" if once else "service_healthy"}
    return found if need else found | {"required": False}


def _ports(name: str, node: Service, system: System) -> list[str]:
    if name in _LOOPBACK:
        return [f"127.0.0.1:{node.port}:{node.port}"]
    if name == "voice":
        media = f"{system.talk.media_port_first}-{system.talk.media_port_last}"
        return [f"{node.port}:{node.port}", f"{media}:{media}/udp"]
    return []


def _asked(name: str, node: Service) -> list[str]:
    if node.probe == "redis":
        return ["CMD", "valkey-cli", "-p", str(node.port), "ping"]
    return ["CMD", "barnabee", "health", "--ready", "--at", f"{name}=127.0.0.1"]


def _healthcheck(test: list[str], node: Service) -> dict[str, Any]:
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


def _resources(name: str, node: Service, place: Place) -> dict[str, Any]:
    limits: dict[str, Any] = {"limits": {"memory": f"{node.memory_max_mib}M"}}
    if name == "gpu" and place.card:
        device = {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
        limits["reservations"] = {"devices": [device]}
    return limits


def _redis(system: System) -> list[str]:
    # Without a password: no port of it is published, and the network is the house's own.
    options = redis_options(system, "0.0.0.0", "/data") | {"protected-mode": "no"}
    return ["valkey-server", *(text for key in options for text in (f"--{key}", options[key]))]


# ---- as text ------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z/.][A-Za-z0-9_./@-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def to_yaml(value: Mapping[str, Any]) -> str:
    """Return plain data as YAML: mappings, lists, words and numbers, which is all there is here."""
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
    """Return a word as it is where that is safe; every JSON value is YAML."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
