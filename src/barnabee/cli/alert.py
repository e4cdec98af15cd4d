"""`barnabee alert`: what is wrong now, quiet for a while, and whether alerts arrive at all."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.core.errors import BadRequest, SettingInvalid, SettingMissing

if TYPE_CHECKING:
    from barnabee.alerts.delivery_test import Trial
    from barnabee.clients.alertmanager import Alert, Alertmanager

app = typer.Typer(help="What is wrong now, and whether alerts arrive.", no_args_is_help=True)

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_TOKEN = "home_assistant_token"  # noqa: S105 - the name of the file


@app.command("test")
def try_alert(
    aloud: Annotated[
        bool, typer.Option("--aloud", help="As a critical one, which is spoken as well.")
    ] = False,
    limit_s: Annotated[
        int, typer.Option("--limit", metavar="S", min=1, help="How long each hop may take.")
    ] = 60,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="The file with a token of Home Assistant."),
    ] = None,
    as_json: _JSON = False,
) -> None:
    """Send a test alert to Home Assistant, see it arrive, end it and see it go.

    Exit status 1 with the hop after which it was lost.
    """
    import asyncio

    trial = asyncio.run(tried(aloud=aloud, limit_s=limit_s, token_file=token_file))
    typer.echo(json.dumps(trial.as_dict(), indent=2) if as_json else _trial_text(trial))
    if not trial.ok:
        raise trial.error()


@app.command("list")
def list_alerts(as_json: _JSON = False) -> None:
    """Show the alerts in force and what to do about them."""
    import asyncio

    found = sorted(asyncio.run(_in_force()), key=lambda alert: alert.started)
    if as_json:
        typer.echo(json.dumps([alert.as_dict() for alert in found], indent=2))
        return
    typer.echo("\n".join(_alert_text(one) for one in found) if found else "nothing is wrong")


@app.command("silence")
def silence(
    name: Annotated[str, typer.Argument(help="The alert, as `barnabee alert list` names it.")],
    hours: Annotated[int, typer.Option("--hours", min=1, max=720, help="For how long.")] = 8,
    why: Annotated[str, typer.Option("--why", help="For whoever wonders later.")] = "asked for",
) -> None:
    """Say nothing of an alert for a while."""
    import asyncio

    from barnabee.alerts.delivery_test import WATCHDOG

    if name == WATCHDOG:
        raise BadRequest(field="alert", reason="the Watchdog is what tells that alerts work")
    silence_id = asyncio.run(_silence(name, hours, why))
    typer.echo(f"{name} is not told for {hours} h (silence {silence_id})")


def can_be_sent() -> bool:
    """Return whether this house is told of an Alertmanager, or runs one."""
    told = os.environ.get("ALERTMANAGER_URL") or _port_of_the_run("alertmanager")
    return bool(told)


async def tried(
    *, aloud: bool = False, limit_s: float = 60, token_file: Path | None = None
) -> Trial:
    """Try the way of alerts of this house; the settings say where everybody is.

    SettingMissing when there is no Home Assistant or no token to ask it what it shows.
    """
    import logging

    import structlog

    from barnabee.alerts import delivery_test
    from barnabee.clients.home_assistant import HomeAssistant

    # What the client has to tell on its way is not the command's answer; a trial has its own words.
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent)
    url, token = _home(token_file)
    home = HomeAssistant(url, lambda: token, timeout_s=5)
    home.start()
    try:
        async with _alertmanager() as sender:
            return await delivery_test.run(sender, home.notifications, aloud=aloud, limit_s=limit_s)
    finally:
        await home.aclose()


@asynccontextmanager
async def _alertmanager() -> AsyncIterator[Alertmanager]:
    from barnabee.clients.alertmanager import Alertmanager
    from barnabee.core import settings, system

    port = None if os.environ.get("ALERTMANAGER_URL") else _port_of_the_run("alertmanager")
    url = f"http://127.0.0.1:{port}" if port else settings.load(system.current()).alertmanager_url
    sender = Alertmanager(url)
    try:
        yield sender
    finally:
        await sender.aclose()


def _home(token_file: Path | None) -> tuple[str, str]:
    """Return where Home Assistant is and a token: of the run, or what the settings say."""
    from barnabee.core import settings, system
    from barnabee.up import paths
    from barnabee.up.node_commands import DEMO_TOKEN

    url = settings.load(system.current()).home_assistant_url
    files = [paths.local().secrets / _TOKEN]
    port = _port_of_the_run("home")
    if port:
        url, files = f"http://127.0.0.1:{port}", [paths.local().secrets / DEMO_TOKEN]
    if not url:
        hint = "say where Home Assistant is, or start with `./barnabee up --demo-home --monitoring`"
        raise SettingMissing(name="HOME_ASSISTANT_URL", hint=hint)
    token = settings.credential(_TOKEN) if token_file is None else None
    for file in [token_file] if token_file else files:
        token = token or _read(file)
    if not token:
        hint = f"put a long-lived token of Home Assistant into {files[0]}, or give --token-file"
        raise SettingMissing(name=_TOKEN, hint=hint)
    return url, token


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        hint = "name a file with nothing but the token"
        raise SettingInvalid(name=str(file), reason=str(error), hint=hint) from error


def _port_of_the_run(name: str) -> int | None:
    from barnabee.up import paths, run_state

    run = run_state.read(paths.local())
    node = run.nodes.get(name) if run is not None and run.alive else None
    return node.port if node is not None else None


async def _in_force() -> list[Alert]:
    from barnabee.alerts.delivery_test import WATCHDOG

    async with _alertmanager() as sender:
        return [alert for alert in await sender.alerts() if alert.name != WATCHDOG]


async def _silence(name: str, hours: int, why: str) -> str:
    from datetime import UTC, datetime, timedelta

    async with _alertmanager() as sender:
        return await sender.silence(
            {"alertname": name}, since=datetime.now(UTC), lasting=timedelta(hours=hours), why=why
        )


def _trial_text(trial: Trial) -> str:
    lines = [f"{hop.name:<15} {hop.took_ms:>8.0f} ms  {hop.seen}" for hop in trial.hops]
    return "\n".join([*lines, "alerts arrive" if trial.ok else ""]).rstrip()


def _alert_text(alert: Alert) -> str:
    held = " (held back)" if alert.held_back else ""
    since = alert.started.astimezone().strftime("%d.%m. %H:%M")
    severity = alert.labels.get("severity", "")
    lines = [
        f"{severity:<8} {alert.name} since {since}{held}",
        f"         {alert.annotations.get('summary', '')}",
        f"         {alert.annotations.get('action', '')} ({alert.annotations.get('runbook', '')})",
    ]
    return "\n".join(lines)
