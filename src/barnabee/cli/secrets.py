"""`barnabee secrets`: the secrets of a NixOS host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.deploy.host_secrets import HostSecrets

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


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
    directory: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Directory with a file for each.")
    ] = None,
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
