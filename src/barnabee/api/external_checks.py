"""What the api's house uses and does not run, as soft checks: only what is configured."""

from __future__ import annotations

import httpx

from barnabee.api.service import House, Model
from barnabee.clients import reachability
from barnabee.core import external_checks
from barnabee.core.health import HealthProbe
from barnabee.core.metrics import Metrics
from barnabee.core.schema import System
from barnabee.core.settings import Settings

HOME = "home_assistant"
LANGUAGE_MODEL = "azure_openai"
MAIL = "smtp"
MESSAGES = "azure_communication"


def probes(
    system: System, settings: Settings, metrics: Metrics, home: House | None, llm: Model | None
) -> dict[str, HealthProbe]:
    """Return the probes by the name of their check; SettingInvalid for an address that is none."""
    asked: dict[str, HealthProbe] = {}
    if home is not None:
        asked[HOME] = home.ready
    if llm is not None:
        asked[LANGUAGE_MODEL] = llm.ready
    if settings.mail_server:
        asked[MAIL] = _mail(settings.mail_server)
    if settings.azure_communication_endpoint:
        asked[MESSAGES] = _messages(settings.azure_communication_endpoint)
    return external_checks.make_probes(system.external, asked, metrics)


def _mail(server: str) -> HealthProbe:
    host, port = reachability.parse_mail_server("ALERT_MAIL_SMARTHOST", server)

    async def greets() -> None:
        await reachability.check_mail_server(MAIL, host, port)

    return greets


def _messages(endpoint: str) -> HealthProbe:
    url = reachability.parse_web_server("AZURE_COMMUNICATION_ENDPOINT", endpoint)

    async def answers() -> None:
        async with httpx.AsyncClient(timeout=None) as http:  # noqa: S113 - the look has a limit
            await reachability.check_web_server(MESSAGES, http, url)

    return answers
