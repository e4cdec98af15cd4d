"""`barnabee secrets`: those of a NixOS host. `barnabee credentials`: replaced while in use."""

from __future__ import annotations

import sys
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.deploy.host_secrets import HostSecrets
    from barnabee.up.deployment import LocalDeployment

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
credentials_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
BUCKET_KEYS = ("b2_key_id", "b2_application_key")
_TRY_LIMIT_S = 10.0
Directory = Annotated[
    Path | None, typer.Option("--from", metavar="DIR", help="Directory with a file for each.")
]


@app.callback()
def secrets_group() -> None:
    """Secrets of this NixOS host."""


@app.command("list")
def list_secrets() -> None:
    """List the secrets that this host needs; exit status 1 when some are missing."""
    from barnabee.deploy.host_secrets import describe_secret

    host = _read_host()
    missing = host.list_missing()
    for name in sorted(host.files):
        echo(f"{'✗ missing' if name in missing else '● there  '} {describe_secret(name)}")
    if missing:
        echo(f"{len(missing)} missing. {host.remedy()}.", err=True)
        raise typer.Exit(1)


@app.command("add")
def add_secrets(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help="Default: all that are missing.")
    ] = None,
    directory: Directory = None,
) -> None:
    """Ask for secrets and store them; what waits for them starts by itself.

    Without NAME, what can be generated is. With one and no terminal, the value is standard input.
    """
    from barnabee.core.errors import NotFound
    from barnabee.deploy import host_secrets

    host = _read_host()
    for name in names or []:
        if name not in host.files:
            raise NotFound(
                what=f"secret {name} on this host; `barnabee secrets list` has the names"
            )
    wanted = names or host.list_missing()
    values = host_secrets.read_directory(directory, wanted) if directory else {}
    if not names:
        left = [name for name in wanted if name not in values]
        made = host_secrets.generate_secrets(left, host.page_hosts, is_primary=host.is_primary)
        values = made | values
    left = [name for name in wanted if name not in values]
    if len(left) == 1 and names and not sys.stdin.isatty():
        values[left[0]] = sys.stdin.read()
    else:
        values |= ask_for_secrets(left)
    for name, value in values.items():
        host_secrets.store_secret(host, name, value)
        echo(f"stored {name}", err=True)
    if missing := host.list_missing():
        echo(f"still missing: {', '.join(missing)}", err=True)
        raise typer.Exit(0 if names else 1)


@credentials_app.callback()
def credentials_group() -> None:
    """Credentials that services use."""


@credentials_app.command("set")
def set_credentials(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Such as b2_key_id.")],
    directory: Directory = None,
) -> None:
    """Replace credentials, and restart the services that use them.

    The two keys of the bucket are replaced together, and tried first in a local deployment. The
    value of a single NAME is standard input if that is no terminal.
    """
    from barnabee.deploy import host_secrets
    from barnabee.up import launch, paths
    from barnabee.up.deployment import make_local_deployment

    if set(names) & set(BUCKET_KEYS):
        names = list(dict.fromkeys([*BUCKET_KEYS, *names]))
    host = host_secrets.read_host_secrets()
    if host is not None:
        values = _read_values(names, directory, host.files)
        for name, value in values.items():
            host_secrets.store_secret(host, name, value)
        restarted = host_secrets.restart_users(host, values)
    else:
        running = launch.find_running_deployment(paths.local_paths())
        deployment = running or make_local_deployment()
        values = _read_values(names, directory, _list_local_names(deployment))
        restarted = _set_locally(deployment, values)
    echo(f"replaced {', '.join(values)}; restarted {', '.join(restarted) or 'nothing'}", err=True)


def _require_replaceable(name: str, known: Container[str]) -> None:
    from barnabee.core.errors import BadRequest, NotFound

    elsewhere = {
        "api_token": "run `barnabee token rotate admin`",
        "restic_password": "it encrypts the snapshots that exist; see docs/reference/backup.md",
    }
    if name in elsewhere:
        raise BadRequest(field="NAME", reason=f"{name} is not replaced here: {elsewhere[name]}")
    if name not in known:
        raise NotFound(what=f"credential {name} here")


def _read_values(names: list[str], directory: Path | None, known: Container[str]) -> dict[str, str]:
    from barnabee.core.errors import BadInput
    from barnabee.deploy import host_secrets

    for name in names:
        _require_replaceable(name, known)
    if directory is not None:
        values = host_secrets.read_directory(directory, names)
    elif len(names) == 1 and not sys.stdin.isatty():
        values = {names[0]: sys.stdin.read()}
    else:
        values = ask_for_secrets(names)
    if missing := [name for name in names if not values.get(name, "").strip()]:
        reason = f"{', '.join(names)} are replaced together" if len(names) > 1 else "it is empty"
        raise BadInput(what=f"There is no value for {', '.join(missing)}: {reason}")
    return values


def _list_local_names(deployment: LocalDeployment) -> set[str]:
    from barnabee.deploy.host_secrets import PURPOSES

    nodes = deployment.system.nodes().values()
    return {name for node in nodes for name in node.credentials} & set(PURPOSES)


def _set_locally(deployment: LocalDeployment, values: dict[str, str]) -> list[str]:
    from barnabee.cli import up
    from barnabee.up import run_state, secrets
    from barnabee.up.deployment import list_credential_users

    if set(values) & set(BUCKET_KEYS):
        _try_bucket_keys(deployment, values)
    secrets.replace_secrets(deployment.paths, values)
    if run_state.find_runner(deployment.paths) is None:
        return []
    users = list_credential_users(deployment, values)
    up.restart_services(users)
    return users


def _try_bucket_keys(deployment: LocalDeployment, values: dict[str, str]) -> None:
    """Write an object with the new keys; StoreFailed when the store refuses them."""
    import tempfile

    from barnabee.backup import store_probe
    from barnabee.core.errors import BadRequest
    from barnabee.core.settings import override_environment, read_settings
    from barnabee.up.deployment import make_settings

    if deployment.has_local_replica:
        reason = "the replica is on this machine; docs/reference/backup.md says how to move it"
        raise BadRequest(field="NAME", reason=reason)
    with tempfile.TemporaryDirectory() as folder:
        for name in BUCKET_KEYS:
            (Path(folder) / name).write_text(values[name], encoding="utf-8")
        variables = make_settings(deployment) | {"CREDENTIALS_DIRECTORY": folder}
        with override_environment(variables):
            settings = read_settings(deployment.system)
            store_probe.probe_store(deployment.system, settings, limit_s=_TRY_LIMIT_S)


@app.command("wait", hidden=True)
def wait_for_secrets() -> None:
    """Start guests once their secrets exist; the unit barnabee-secrets."""
    import structlog

    from barnabee.core import logging
    from barnabee.core.serve import notify
    from barnabee.deploy import host_secrets

    logging.configure_logging("deploy")
    notify("READY=1")

    def report(sentence: str) -> None:
        notify(f"STATUS={sentence}")
        if sentence:
            structlog.get_logger().warning("secrets_missing", message=sentence)

    host_secrets.wait_for_secrets(_read_host(), report)


def ask_for_secrets(names: list[str]) -> dict[str, str]:
    """Ask for all of `names` at the terminal; those left empty are not in the result."""
    from barnabee.core.errors import BadInput
    from barnabee.deploy.host_secrets import describe_secret

    if not names or not sys.stdin.isatty():
        return {}
    echo("Secrets (Enter: later; @FILE: the content of a file):", err=True)
    values = {}
    for name in names:
        answer = typer.prompt(f"  {describe_secret(name)}", "", hide_input=True, err=True)
        if answer.startswith("@"):
            try:
                answer = Path(answer[1:]).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise BadInput(what=f"{name} cannot be read: {error}") from error
        if answer:
            values[name] = answer
    return values


def _read_host() -> HostSecrets:
    from barnabee.core.errors import Misconfigured
    from barnabee.deploy import host_secrets

    host = host_secrets.read_host_secrets()
    if host is None:
        file = f"/{host_secrets.SECRETS_FILE}"
        raise Misconfigured(what=f"There is no {file}: this is no NixOS host that needs secrets")
    return host
