"""Health checks of the api: the database is required, all other dependencies are optional.

External services are checked without credentials and side effects: the mail server's greeting, and
an HTTP HEAD request. Each has its own interval, timeout and message; its check runs in a task, and
the health report gets its last result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
from prometheus_client import Gauge

from barnabee.api.service import HomeAssistantService, LanguageModelService
from barnabee.backup import status as backup_status
from barnabee.core.errors import BackupFailed, BarnabeeError, DependencyDown, SettingInvalid
from barnabee.core.health import Degraded, HealthCheck, HealthProbe, Unknown
from barnabee.core.metrics import Metrics
from barnabee.core.rate_limit import backoff_s
from barnabee.core.redis_client import RedisClient
from barnabee.core.schema import ExternalConfig, System
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
        if not await redis.exists(WORKER_HEARTBEAT):
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


_WAIT_S = 0.2  # how long a health report waits for a running check
_FIRST_RETRY_S = 1.0


class ExternalServiceDown(DependencyDown):
    """{message} ({reason})."""


class ExternalCheck:
    """Check of one external service; `check` is a soft probe for `core.health`.

    While the service fails, the interval backs off.
    """

    def __init__(
        self,
        name: str,
        config: ExternalConfig,
        probe: HealthProbe,
        gauge: Gauge,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._config = config
        self._probe = probe
        self._gauge = gauge
        self._clock = clock
        self._failures = 0
        self._next_s = float("-inf")
        self._running: asyncio.Task[None] | None = None
        self._result: Degraded | Unknown | ExternalServiceDown | None = Unknown(
            "not_asked", f"{name} was not checked yet"
        )

    async def check(self) -> Degraded | Unknown | None:
        """Return the last result and start a new check if one is due.

        Raises ExternalServiceDown if the last check failed.
        """
        if self._running is None and self._clock() >= self._next_s:
            self._running = asyncio.create_task(self._run(), name=f"external-{self._name}")
        if self._running is not None:
            await asyncio.wait([self._running], timeout=_WAIT_S)
        if isinstance(self._result, ExternalServiceDown):
            raise self._result.with_traceback(None)
        return self._result

    async def _run(self) -> None:
        reason = ""
        result: Degraded | Unknown | None = None
        try:
            async with asyncio.timeout(self._config.timeout_ms / 1000):
                result = await self._probe()
        except TimeoutError:
            reason = f"no answer within {self._config.timeout_ms} ms"
        except DependencyDown as error:
            reason = str(error.fields.get("reason", error))
        except (BarnabeeError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
        finally:
            self._running = None
        self._failures = self._failures + 1 if reason else 0
        down = ExternalServiceDown(
            dependency=self._name, message=self._config.message, reason=reason
        )
        self._result = down if reason else result
        self._gauge.labels(self._name).set(0 if reason else 1)
        self._next_s = self._clock() + next_check_delay_s(self._config, self._failures)


def next_check_delay_s(config: ExternalConfig, failures: int) -> float:
    """Return the delay until the next check after `failures` failures in a row. Pure."""
    if not failures:
        return float(config.every_s)
    return backoff_s(failures, _FIRST_RETRY_S, config.backoff_max_s)


def make_external_gauge(metrics: Metrics) -> Gauge:
    """Register `barnabee_external_up`; a service has no series before its first check."""
    return Gauge(
        "barnabee_external_up",
        "1 while the external service answers, 0 while it does not.",
        ("dependency",),
        registry=metrics.registry,
    )


def make_probes(
    configs: Mapping[str, ExternalConfig], probes: Mapping[str, HealthProbe], metrics: Metrics
) -> dict[str, HealthProbe]:
    """Return the health probes for the services in `probes`, with their names in `configs`."""
    gauge = make_external_gauge(metrics)
    return {
        name: ExternalCheck(name, configs[name], probe, gauge).check
        for name, probe in probes.items()
    }
