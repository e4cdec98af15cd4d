"""The graph as a Compose file, for machines without NixOS and Proxmox.

Pure. Connects the images of pkgs/images/oci.nix: names, ports, volumes, secrets, limits, health,
order. Programs, models and the command are part of an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from barnabee.core import graph
from barnabee.core.schema import ServiceConfig, System
from barnabee.core.settings import Settings
from barnabee.core.tokens import TOKENS_FILE, Scope
from barnabee.up.probe import PROBE_USER
from barnabee.up.redis_server import make_redis_options

NAME = "barnabee"
NETWORK = "internal"
USER = 990  # of pkgs/images/oci.nix: owns /data and may read the secrets
HTTP, HTTPS = 80, 443
PROXY = "proxy"
TOKENS = "tokens"
TOKENS_DIRECTORY = "/run/barnabee-tokens"
_TOKEN_NAMES = frozenset(scope.credential for scope in Scope)
BEHIND_THE_PROXY = ("api", "voice")
TLS = ("tls_certificate", "tls_key")
SYSTEM_FILE = "/etc/barnabee/system.toml"
SECRETS = "/run/secrets"  # where Compose puts them
RUNTIME = "/run/barnabee-litestream"
# The specification's figures. During the start the checks run every START_INTERVAL_S, or each step
# of the cascade would take half a minute.
INTERVAL_S, TIMEOUT_S, RETRIES, START_INTERVAL_S = 30, 10, 3, 2

# Set inside the images, or used only without containers.
_NOT_SET = frozenset(
    {"BARNABEE_MODELS", "BARNABEE_DEVICE", "BARNABEE_FILLERS", "CUDA_VISIBLE_DEVICES"}
)
_VOLUMES = {
    "redis": ["redis-data:/data"],
    "gpu": ["model-cache:/cache"],
    "restore": ["barnabee-data:/data"],
    "voice": ["barnabee-data:/data:ro"],
    "litestream": ["barnabee-data:/data", f"litestream-socket:{RUNTIME}"],
    "api": ["barnabee-data:/data", f"litestream-socket:{RUNTIME}"],
    "worker": ["barnabee-data:/data", f"litestream-socket:{RUNTIME}"],
}
# Published on loopback only: clients use the proxy, and WebRTC media reaches the voice service.
_LOOPBACK = ("api", "gpu", "voice")
# The proxy's address is fixed, because the services trust its forwarded headers; others get theirs
# from the upper half. The last of the networks that Docker would choose itself.
SUBNET, OTHERS, PROXY_ADDRESS = "172.31.77.0/24", "172.31.77.128/25", "172.31.77.2"


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
    services[TOKENS] = _tokens(system, options)
    secrets = sorted({name for item in services.values() for name in item.get("secrets", ())})
    return {
        "name": NAME,
        "services": services,
        "networks": {
            NETWORK: {
                "name": NAME,
                "ipam": {"config": [{"subnet": SUBNET, "ip_range": OTHERS}]},
            }
        },
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
        "BARNABEE_TOKENS": TOKENS_DIRECTORY,
        "BARNABEE_TRUSTED_PROXIES": PROXY_ADDRESS,
        "BARNABEE_WYOMING_BIND": "0.0.0.0",
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
    if node.module:
        volumes.append(f"{options.secrets}/tokens/{name}:{TOKENS_DIRECTORY}:ro")
        depends_on[TOKENS] = {"condition": "service_completed_successfully"}
    if is_ours:
        volumes.append(f"{options.system_file}:{SYSTEM_FILE}:ro")
    # The container's only GPU has number 0, whatever its number outside; a slice needs its UUID.
    has_uuid = name == "gpu" and options.has_gpu and not system.gpu.device.isdecimal()
    visible = {"CUDA_VISIBLE_DEVICES": system.gpu.device} if has_uuid else {}
    return _base(name, options) | _drop_empty(
        {
            "command": None if is_ours else _redis_command(system),
            "restart": _restart(node),
            "environment": make_environment(system) | visible
            if is_ours
            else {"CREDENTIALS_DIRECTORY": SECRETS},
            "ports": _ports(name, node, system),
            "volumes": volumes,
            "secrets": [secret for secret in node.credentials if secret not in _TOKEN_NAMES],
            "depends_on": depends_on,
            "healthcheck": None if is_oneshot else _healthcheck(name, node),
            "stop_grace_period": f"{node.stop_timeout_s}s",
            "deploy": {"resources": _resources(name, system, options)},
        }
    )


def _base(name: str, options: ComposeOptions) -> dict[str, Any]:
    """Return the keys that every container has: its names and its restrictions."""
    return {
        "image": image_name(name, options),
        "init": True,  # a health check cannot kill the first process of a container
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
        "networks": {NETWORK: {"ipv4_address": PROXY_ADDRESS}},
        "tmpfs": [f"{path}:uid={USER}" for path in ("/tmp", "/run/nginx", "/var/cache/nginx")],  # noqa: S108
        "restart": "unless-stopped",
        "ports": [f"{port}:{port}" for port in (HTTP, HTTPS)],
        "secrets": list(TLS),
        # nginx resolves a name once, so it restarts with the containers that it forwards to.
        "depends_on": {name: wait | {"restart": True} for name, wait in depends_on.items()},
        "healthcheck": _timing(test, start_s=10),
        "deploy": {"resources": {"limits": {"memory": "256M"}}},
    }


def _tokens(system: System, options: ComposeOptions) -> dict[str, Any]:
    """Return the job that writes the tokens of each service before it starts."""
    files = [
        f"{name}/{file}"
        for name, node in system.service.items()
        if node.module
        for file in (TOKENS_FILE, *node.credentials)
        if file in {TOKENS_FILE} | _TOKEN_NAMES
    ]
    command = ["python", "-m", "barnabee.core.tokens", "--admin-token-file", "/secrets/api_token"]
    command += ["--directory", "/secrets", "--copies", "/secrets/tokens", "--create", *files]
    base = {key: value for key, value in _base("api", options).items() if key != "networks"}
    return base | {
        "container_name": f"{NAME}-{TOKENS}",
        "network_mode": "none",
        "restart": "on-failure",
        "command": command,
        "volumes": [f"{options.secrets}:/secrets"],
        "deploy": {"resources": {"limits": {"memory": "128M"}}},
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
    ports = [f"127.0.0.1:{node.port}:{node.port}"] if name in _LOOPBACK else []
    if name == "voice":
        media = f"{system.talk.media_port_first}-{system.talk.media_port_last}"
        ports.append(f"{media}:{media}/udp")
    if name == "wyoming":
        ports.append(f"{system.wyoming.bind}:{system.wyoming.port}:{system.wyoming.port}")
    return ports


def _healthcheck(name: str, node: ServiceConfig) -> dict[str, Any]:
    test = ["CMD", "barnabee", "health", "--ready", "--kill-hung", "--at", f"{name}=127.0.0.1"]
    if node.probe == "redis":
        port = str(node.port)
        test = ["CMD", "valkey-cli", "--user", PROBE_USER, "--pass", "any", "-p", port, "ping"]
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


def _resources(name: str, system: System, options: ComposeOptions) -> dict[str, Any]:
    memory = f"{system.service[name].memory_max_mib}M"
    limits: dict[str, Any] = {"limits": {"memory": memory}}
    if name == "gpu" and options.has_gpu:
        device = {"driver": "nvidia", "device_ids": [system.gpu.device], "capabilities": ["gpu"]}
        limits["reservations"] = {"devices": [device]}
    return limits


def _redis_command(system: System) -> list[str]:
    # None of its ports is published; without a password only PING is allowed.
    options = make_redis_options(system, "0.0.0.0", "/data") | {"protected-mode": "no"}
    arguments = (text for key in options for text in (f"--{key}", options[key]))
    return ["python", "-m", "barnabee.up.redis_server", "valkey-server", *arguments]
