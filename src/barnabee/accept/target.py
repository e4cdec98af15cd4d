"""Targets of the acceptance test: the local run, this machine's units, or a remote api."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from barnabee.accept import startup
from barnabee.accept.startup import StartTimes
from barnabee.backup import litestream
from barnabee.backup.litestream import ReplicationLag
from barnabee.clients.loki import LokiClient, make_trace_query
from barnabee.core import settings, system, tracing
from barnabee.core.errors import DependencyDown, NotFound, NotRunning, SettingMissing
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.up import cascade, deployment, logfile, paths, probe, run_state

LOCAL = "local"
_TIMEOUT_S = 10.0
_LOG_RANGE_NS = 120_000_000_000

ListProblems = Callable[[], Awaitable[list[str]]]  # one sentence per unhealthy service
ReadStartTimes = Callable[[], Awaitable[StartTimes | None]]
MeasureLag = Callable[[float], Awaitable[ReplicationLag]]
FindLines = Callable[[str], Awaitable[list[dict[str, Any]]]]


@dataclass(frozen=True)
class LogSource:
    """Log lines by trace id; `source` names where they are read."""

    source: str
    find_lines: FindLines


@dataclass(frozen=True)
class AcceptanceTarget:
    """One system; None for what cannot be read from here."""

    name: str
    system: System
    api: httpx.AsyncClient
    read_start_times: ReadStartTimes | None
    list_problems: ListProblems
    logs: LogSource | None
    measure_lag: MeasureLag | None


TargetFactory = Callable[[httpx.AsyncClient, Settings, LokiClient | None], AcceptanceTarget]


@asynccontextmanager
async def open_target(
    name: str, *, hosts: Mapping[str, str], token: str | None
) -> AsyncIterator[AcceptanceTarget]:
    """Yield the target called `name`: "local", or the URL of an api.

    `hosts` is host by service for a machine with systemd units. Raises NotRunning when nothing runs
    here, SettingMissing without a token.
    """
    configured = settings.read_settings(system.get_system())
    token = token or settings.read_credential("api_token")
    run = run_state.read_state(paths.local_paths()) if name == LOCAL and not hosts else None
    make_target: TargetFactory = _make_remote_target
    if name != LOCAL:
        url = name.rstrip("/")
    elif run is not None and run.is_alive:
        make_target, url = _make_run_factory(run), f"http://127.0.0.1:{run.nodes['api'].port}"
        token = token or deployment.read_api_token(paths.local_paths())
    elif hosts:
        make_target, url = _make_unit_factory(hosts), configured.api_url
    else:
        raise NotRunning
    if token is None:
        hint = "give --token-file, or the credential api_token"
        raise SettingMissing(name="the api's token", hint=hint)
    loki = LokiClient(configured.loki_url) if configured.loki_url else None
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with httpx.AsyncClient(
            base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False
        ) as api:
            yield make_target(api, configured, loki)
    finally:
        if loki is not None:
            await loki.aclose()


def _make_run_factory(run: run_state.RunState) -> TargetFactory:
    """Return the factory for the run that `barnabee up` started."""
    graph = system.load_system(Path(run.system_file))
    local = paths.local_paths()

    async def read_start_times() -> StartTimes:
        return startup.get_run_times(run)

    async def list_problems() -> list[str]:
        return _describe_problems(await cascade.probe_run(run))

    async def measure_lag(timeout_s: float) -> ReplicationLag:
        return await litestream.measure_lag(
            local.litestream_socket, local.database, timeout_s=timeout_s
        )

    async def find_lines(trace_id: str) -> list[dict[str, Any]]:
        return logfile.find_trace(local.log, trace_id)

    def make_target(
        api: httpx.AsyncClient, _settings: Settings, loki: LokiClient | None
    ) -> AcceptanceTarget:
        logs = _make_loki_source(loki) or LogSource("local JSON lines", find_lines)
        return AcceptanceTarget(
            LOCAL, graph, api, read_start_times, list_problems, logs, measure_lag
        )

    return make_target


def _make_unit_factory(hosts: Mapping[str, str]) -> TargetFactory:
    """Return the factory for this machine's units, whose services run on `hosts`."""

    async def list_problems() -> list[str]:
        return _describe_problems(await cascade.probe_hosts(hosts))

    def make_target(
        api: httpx.AsyncClient, configured: Settings, loki: LokiClient | None
    ) -> AcceptanceTarget:
        socket = Path(configured.litestream_socket) if configured.litestream_socket else None

        async def measure_lag(timeout_s: float) -> ReplicationLag:
            return await litestream.measure_lag(
                socket or Path(), configured.database_path, timeout_s=timeout_s
            )

        return AcceptanceTarget(
            LOCAL,
            system.get_system(),
            api,
            startup.read_journal,
            list_problems,
            _make_loki_source(loki),
            measure_lag if socket else None,
        )

    return make_target


def _make_remote_target(
    api: httpx.AsyncClient, _settings: Settings, loki: LokiClient | None
) -> AcceptanceTarget:
    async def list_problems() -> list[str]:
        try:
            response = await api.get("/health/ready")
            result = probe.parse_response(response.status_code, response.json())
        except (httpx.HTTPError, ValueError) as error:
            raise DependencyDown(dependency="api", reason=str(error)) from error
        return [] if result.is_ok else [result.message or result.state.value]

    async def measure_lag(_timeout_s: float) -> ReplicationLag:
        try:
            response = await api.get("/v1/backups")
            if response.status_code == NotFound.status:
                raise NotFound(what="backup status of that api")
            replica = response.raise_for_status().json()["replica"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise DependencyDown(dependency="api", reason=str(error)) from error
        if replica["error"]:
            raise DependencyDown(dependency="replica", reason=replica["error"])
        return ReplicationLag(replica["txid"], replica["txid"] - replica["lag_transactions"])

    return AcceptanceTarget(
        str(api.base_url),
        system.get_system(),
        api,
        None,
        list_problems,
        _make_loki_source(loki),
        measure_lag,
    )


def _make_loki_source(loki: LokiClient | None) -> LogSource | None:
    if loki is None:
        return None

    async def find_lines(trace_id: str) -> list[dict[str, Any]]:
        now_ns = time.time_ns()
        return await loki.query(make_trace_query(trace_id), now_ns - _LOG_RANGE_NS, now_ns)

    return LogSource(f"LogQL at {loki.url}", find_lines)


def _describe_problems(report: cascade.CascadeReport) -> list[str]:
    return [
        f"{name}: {node.reason or node.result.message or node.result.state.value}"
        for name, node in report.nodes.items()
        if not node.result.is_ok
    ]


def start_trace() -> tuple[str, dict[str, str]]:
    """Return a new trace id and the request headers that propagate it."""
    trace_id = tracing.adopt_trace_id(None)
    return trace_id, tracing.make_headers()
