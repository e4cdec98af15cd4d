"""`barnabee alert`: firing alerts, silences and the delivery test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabee.cli import echo
from barnabee.core.errors import BadRequest, SettingInvalid, SettingMissing

if TYPE_CHECKING:
    from barnabee.accept.alert_delivery import DeliveryReport
    from barnabee.clients.alertmanager import Alert, AlertmanagerClient

app = typer.Typer(help="Show, silence and test alerts.", no_args_is_help=True)

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_TOKEN = "home_assistant_token"  # noqa: S105 - the name of the file


@app.command("test")
def run_alert_test(
    aloud: Annotated[
        bool, typer.Option("--aloud", help="Send a critical alert, which is also spoken.")
    ] = False,
    limit_s: Annotated[
        int, typer.Option("--limit", metavar="S", min=1, help="Time limit of each hop in seconds.")
    ] = 60,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="File with a Home Assistant access token."),
    ] = None,
    as_json: _JSON = False,
) -> None:
    """Send a test alert and check that Home Assistant shows and later removes it.

    Exit status 1 with the last hop that was reached.
    """
    import asyncio

    report = asyncio.run(send_test_alert(aloud=aloud, limit_s=limit_s, token_file=token_file))
    echo(json.dumps(report.as_dict(), indent=2) if as_json else _format_report(report))
    if not report.ok:
        raise report.error()


@app.command("list")
def list_alerts(as_json: _JSON = False) -> None:
    """Show the firing alerts and what to do about them."""
    import asyncio

    alerts = sorted(asyncio.run(_read_firing_alerts()), key=lambda alert: alert.started)
    if as_json:
        echo(json.dumps([alert.as_dict() for alert in alerts], indent=2))
        return
    echo("\n".join(map(_format_alert, alerts)) if alerts else "no alerts")


@app.command("silence")
def silence_alert(
    name: Annotated[str, typer.Argument(help="The alert, as shown by `barnabee alert list`.")],
    hours: Annotated[int, typer.Option("--hours", min=1, max=720, help="Duration in hours.")] = 8,
    why: Annotated[str, typer.Option("--why", help="Comment stored with the silence.")] = "manual",
) -> None:
    """Suppress notifications of an alert for a while."""
    import asyncio

    from barnabee.accept.alert_delivery import WATCHDOG
    from barnabee.core.renamed import RENAMED_ALERTS, warn_renamed

    if name in RENAMED_ALERTS:
        warn_renamed("alert", name, RENAMED_ALERTS[name])
        name = RENAMED_ALERTS[name]
    if name == WATCHDOG:
        raise BadRequest(field="alert", reason="the Watchdog shows that alerts work: keep it")
    silence_id = asyncio.run(_create_silence(name, hours, why))
    echo(f"{name} is silenced for {hours} h (silence {silence_id})")


def has_alertmanager() -> bool:
    """Return whether ALERTMANAGER_URL is set or the local run includes Alertmanager."""
    from barnabee.core.settings import read_variable

    return bool(read_variable("ALERTMANAGER_URL") or _find_local_port("alertmanager"))


async def send_test_alert(
    *, aloud: bool = False, limit_s: float = 60, token_file: Path | None = None
) -> DeliveryReport:
    """Run the delivery test of this deployment.

    Raises SettingMissing without Home Assistant, or without an access token for it.
    """
    import logging

    import structlog

    from barnabee.accept import alert_delivery
    from barnabee.clients.home_assistant import HomeAssistant

    # Log records must not mix with the command's output; the report has its own messages.
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent)
    url, token = _find_home_assistant(token_file)
    home = HomeAssistant(url, lambda: token, timeout_s=5)
    home.start()
    try:
        async with _open_alertmanager() as client:
            return await alert_delivery.run_delivery_test(
                client, home.read_notifications, aloud=aloud, limit_s=limit_s
            )
    finally:
        await home.aclose()


@asynccontextmanager
async def _open_alertmanager() -> AsyncIterator[AlertmanagerClient]:
    from barnabee.clients.alertmanager import AlertmanagerClient
    from barnabee.core import settings, system

    configured = settings.read_settings(system.get_system())
    is_configured = bool(settings.read_variable("ALERTMANAGER_URL"))
    port = None if is_configured else _find_local_port("alertmanager")
    client = AlertmanagerClient(f"http://127.0.0.1:{port}" if port else configured.alertmanager_url)
    try:
        yield client
    finally:
        await client.aclose()


def _find_home_assistant(token_file: Path | None) -> tuple[str, str]:
    """Return URL and access token: of the demo home if it runs, else as configured."""
    from barnabee.core import settings, system
    from barnabee.up import paths
    from barnabee.up.deployment import DEMO_TOKEN

    url = settings.read_settings(system.get_system()).home_assistant_url
    files = [paths.local_paths().secrets / _TOKEN]
    port = _find_local_port("home")
    if port:
        url, files = f"http://127.0.0.1:{port}", [paths.local_paths().secrets / DEMO_TOKEN]
    if not url:
        hint = "set it, or start with `./barnabee up --demo-home --monitoring`"
        raise SettingMissing(name="HOME_ASSISTANT_URL", hint=hint)
    token = settings.read_credential(_TOKEN) if token_file is None else None
    for file in [token_file] if token_file else files:
        token = token or _read_token(file)
    if not token:
        hint = f"put a long-lived token of Home Assistant into {files[0]}, or give --token-file"
        raise SettingMissing(name=_TOKEN, hint=hint)
    return url, token


def _read_token(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        hint = "name a file that contains only the token"
        raise SettingInvalid(name=str(file), reason=str(error), hint=hint) from error


def _find_local_port(name: str) -> int | None:
    """Return the port of a node of the local run, or None if it is not running."""
    from barnabee.up import paths, run_state

    run = run_state.read_state(paths.local_paths())
    node = run.nodes.get(name) if run is not None and run.is_alive else None
    return node.port if node is not None else None


async def _read_firing_alerts() -> list[Alert]:
    from barnabee.accept.alert_delivery import WATCHDOG

    async with _open_alertmanager() as client:
        return [alert for alert in await client.read_alerts() if alert.name != WATCHDOG]


async def _create_silence(name: str, hours: int, why: str) -> str:
    from datetime import UTC, datetime, timedelta

    async with _open_alertmanager() as client:
        return await client.create_silence(
            {"alertname": name}, since=datetime.now(UTC), lasting=timedelta(hours=hours), why=why
        )


def _format_report(report: DeliveryReport) -> str:
    lines = [f"{hop.name:<15} {hop.took_ms:>8.0f} ms  {hop.seen}" for hop in report.hops]
    return "\n".join([*lines, "alerts are delivered" if report.ok else ""]).rstrip()


def _format_alert(alert: Alert) -> str:
    suppressed = " (suppressed)" if alert.is_suppressed else ""
    since = alert.started.astimezone().strftime("%d.%m. %H:%M")
    severity = alert.labels.get("severity", "")
    lines = [
        f"{severity:<8} {alert.name} since {since}{suppressed}",
        f"         {alert.annotations.get('summary', '')}",
        f"         {alert.annotations.get('action', '')} ({alert.annotations.get('runbook', '')})",
    ]
    return "\n".join(lines)
