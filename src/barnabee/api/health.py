"""Health checks of the api: the database is required, all other dependencies are optional.

External services are checked without credentials and side effects: the mail server's greeting, and
an HTTP HEAD request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

from barnabee.api.service import HomeAssistantService, LanguageModelService
from barnabee.backup import status as backup_status
from barnabee.core.errors import BackupFailed, DependencyDown, SettingInvalid
from barnabee.core.external_checks import make_probes
from barnabee.core.health import Degraded, HealthCheck, HealthProbe
from barnabee.core.metrics import Metrics
from barnabee.core.redis_client import RedisClient
from barnabee.core.schema import System
from barnabee.core.settings import Settings

# Written by the worker every 2 s; expires after 3 s.
WORKER_HEARTBEAT = "barnabee:heartbeat:worker"
# Names of external checks: keys of [external] in system.toml.
HOME_ASSISTANT = "home_assistant"
LANGUAGE_MODEL = "llm"
MAIL_SERVER = "smtp"
MESSAGE_SERVICE = "azure_communication"
BACKUPS_EVERY_S = 60.0
_SMTP_GREETING = b"220"
_SERVER_ERROR = 500
_LINE_MAX_BYTES = 2048


def make_checks(
    *,
    database: HealthProbe,
    redis: RedisClient,
    gpu: HealthProbe,
    optional: dict[str, HealthProbe],
) -> list[HealthCheck]:
    """Return the checks; `optional` are soft checks that this installation has configured."""

    async def check_worker() -> None:
        if not await redis.command("EXISTS", WORKER_HEARTBEAT):
            raise DependencyDown(dependency="worker", reason="its heartbeat is missing")

    soft: dict[str, HealthProbe] = {
        "redis": redis.ping,
        "gpu": gpu,
        "worker": check_worker,
        **optional,
    }
    return [
        HealthCheck("database", database, hard=True),
        *(HealthCheck(name, probe, hard=False) for name, probe in soft.items()),
    ]


def make_external_probes(
    system: System,
    settings: Settings,
    metrics: Metrics,
    home: HomeAssistantService | None,
    llm: LanguageModelService | None,
) -> dict[str, HealthProbe]:
    """Return the probes of configured external services; SettingInvalid for a bad address."""
    probes: dict[str, HealthProbe] = {}
    if home is not None:
        probes[HOME_ASSISTANT] = home.ready
    if llm is not None:
        probes[LANGUAGE_MODEL] = llm.ready
    if settings.mail_server:
        probes[MAIL_SERVER] = _make_mail_probe(settings.mail_server)
    if settings.azure_communication_endpoint:
        probes[MESSAGE_SERVICE] = _make_message_probe(settings.azure_communication_endpoint)
    return make_probes(system.external, probes, metrics)


class BackupProbe:
    """Health check of snapshots and restore drills (soft); reads their state once a minute."""

    def __init__(
        self, system: System, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._system, self._settings, self._clock = system, settings, clock
        self._started_s = clock()
        self._read_at_s = float("-inf")
        self._problem: str | None = None

    async def __call__(self) -> Degraded | None:
        now_s = self._clock()
        if now_s - self._read_at_s >= BACKUPS_EVERY_S:
            self._problem = await asyncio.to_thread(
                backup_status.find_problem,
                *(self._system, self._settings, backup_status.local_now(self._settings)),
                now_s - self._started_s,
            )
            self._read_at_s = now_s
        return Degraded(BackupFailed.code, self._problem) if self._problem else None


def _make_mail_probe(server: str) -> HealthProbe:
    host, port = parse_mail_server("ALERT_MAIL_SMARTHOST", server)

    async def probe() -> None:
        await check_mail_server(MAIL_SERVER, host, port)

    return probe


def _make_message_probe(endpoint: str) -> HealthProbe:
    url = parse_web_server("AZURE_COMMUNICATION_ENDPOINT", endpoint)

    async def probe() -> None:
        async with httpx.AsyncClient(timeout=None) as http:  # noqa: S113 - the check has a timeout
            await check_web_server(MESSAGE_SERVICE, http, url)

    return probe


async def check_mail_server(name: str, host: str, port: int) -> None:
    """Raise DependencyDown unless the mail server greets with code 220 (RFC 5321)."""
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=_LINE_MAX_BYTES)
        try:
            line = await reader.readline()
            writer.write(b"QUIT\r\n")
            await writer.drain()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    except (OSError, ValueError) as error:
        raise DependencyDown(dependency=name, reason=str(error) or "no answer") from error
    if not line.startswith(_SMTP_GREETING):
        answer = line.decode("ascii", "replace").strip()[:100] or "connection closed"
        raise DependencyDown(dependency=name, reason=f"no SMTP greeting: {answer}")


async def check_web_server(name: str, http: httpx.AsyncClient, url: str) -> None:
    """Raise DependencyDown unless the web server answers with a status below 500."""
    try:
        response = await http.head(url)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise DependencyDown(dependency=name, reason=reason) from error
    if response.status_code >= _SERVER_ERROR:
        raise DependencyDown(dependency=name, reason=f"status {response.status_code}")


def parse_mail_server(setting: str, value: str) -> tuple[str, int]:
    """Return host and port of `host:port`; SettingInvalid names the setting. Pure."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        hint = "write host:port, such as smtp.gmail.com:587"
        raise SettingInvalid(name=setting, reason=f"it is {value!r}", hint=hint)
    return host.strip("[]"), int(port)


def parse_web_server(setting: str, value: str) -> str:
    """Return `value` if it is an http(s) URL; SettingInvalid names the setting. Pure."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        hint = "write https://NAME.communication.azure.com"
        raise SettingInvalid(name=setting, reason=f"it is {value!r}", hint=hint)
    return value
