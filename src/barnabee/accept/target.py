"""Which house is measured and how it is reached: the local run, this machine's units, or a URL."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from barnabee.accept import startup
from barnabee.accept.startup import Start
from barnabee.backup import litestream
from barnabee.backup.litestream import Lag
from barnabee.clients.loki import Loki, of_trace
from barnabee.core import settings, system, trace_context
from barnabee.core.errors import DependencyDown, NotFound, NotRunning, SettingMissing
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.up import cascade, local_config, log_reader, paths, probe, run_state

LOCAL = "local"
_TIMEOUT_S = 10.0
_LOOK_BACK_NS = 120_000_000_000

# What is not well now, in words; empty: all is.
AskCascade = Callable[[], Awaitable[list[str]]]
AskStart = Callable[[], Awaitable[Start | None]]
AskLag = Callable[[float], Awaitable[Lag]]
FindLines = Callable[[str], Awaitable[list[dict[str, Any]]]]


@dataclass(frozen=True)
class Logs:
    """Where lines of the log are looked up; `source` says it in words."""

    source: str
    of_trace: FindLines


@dataclass(frozen=True)
class Target:
    """One house; None: that cannot be asked from here."""

    name: str
    system: System
    api: httpx.AsyncClient
    start: AskStart | None
    cascade: AskCascade
    logs: Logs | None
    lag: AskLag | None


@asynccontextmanager
async def opened(
    name: str, *, places: Mapping[str, str], token: str | None
) -> AsyncIterator[Target]:
    """Yield the house called `name`: "local", or the URL of its api.

    `places` says where the services of a machine with units are. NotRunning when nothing runs here,
    SettingMissing without a token.
    """
    told = settings.load(system.current())
    token = token or settings.credential("api_token")
    run = run_state.read(paths.local()) if name == LOCAL and not places else None
    make: Make = _remote
    if name != LOCAL:
        url = name.rstrip("/")
    elif run is not None and run.alive:
        make, url = _of_run(run), f"http://127.0.0.1:{run.nodes['api'].port}"
        token = token or local_config.token(paths.local())
    elif places:
        make, url = _of_machine(places), told.api_url
    else:
        raise NotRunning
    if token is None:
        hint = "give --token-file, or the credential api_token"
        raise SettingMissing(name="the api's token", hint=hint)
    loki = Loki(told.loki_url) if told.loki_url else None
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with httpx.AsyncClient(
            base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False
        ) as api:
            yield make(api, told, loki)
    finally:
        if loki is not None:
            await loki.aclose()


Make = Callable[[httpx.AsyncClient, Settings, Loki | None], Target]


def _of_run(run: run_state.RunState) -> Make:
    """Return what makes a target of the run that `barnabee up` started."""
    graph = system.load(Path(run.system_file))
    where = paths.local()

    async def start() -> Start:
        return startup.of_run(run)

    async def well() -> list[str]:
        return _lacking(await cascade.ask(run))

    async def lag(timeout_s: float) -> Lag:
        return await litestream.lag(where.litestream_socket, where.database, timeout_s=timeout_s)

    async def written(trace_id: str) -> list[dict[str, Any]]:
        return log_reader.of_trace(where.log, trace_id)

    def make(api: httpx.AsyncClient, _told: Settings, loki: Loki | None) -> Target:
        logs = _of_loki(loki) or Logs("local JSON lines", written)
        return Target(LOCAL, graph, api, start, well, logs, lag)

    return make


def _of_machine(places: Mapping[str, str]) -> Make:
    """Return what makes a target of this machine's units, services being at `places`."""

    async def well() -> list[str]:
        return _lacking(await cascade.ask_at(places))

    def make(api: httpx.AsyncClient, told: Settings, loki: Loki | None) -> Target:
        socket = Path(told.litestream_socket) if told.litestream_socket else None

        async def lag(timeout_s: float) -> Lag:
            return await litestream.lag(socket or Path(), told.database_path, timeout_s=timeout_s)

        return Target(
            LOCAL,
            system.current(),
            api,
            startup.read_journal,
            well,
            _of_loki(loki),
            lag if socket else None,
        )

    return make


def _remote(api: httpx.AsyncClient, _told: Settings, loki: Loki | None) -> Target:
    async def well() -> list[str]:
        try:
            answer = await api.get("/health/ready")
            look = probe.read_answer(answer.status_code, answer.json())
        except (httpx.HTTPError, ValueError) as error:
            raise DependencyDown(dependency="api", reason=str(error)) from error
        return [] if look.good else [look.message or look.state.value]

    async def lag(_timeout_s: float) -> Lag:
        try:
            answer = await api.get("/v1/backups")
            if answer.status_code == NotFound.status:
                raise NotFound(what="word of its replica from that api")
            replica = answer.raise_for_status().json()["replica"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise DependencyDown(dependency="api", reason=str(error)) from error
        if replica["error"]:
            raise DependencyDown(dependency="replica", reason=replica["error"])
        return Lag(replica["txid"], replica["txid"] - replica["lag_transactions"])

    return Target(str(api.base_url), system.current(), api, None, well, _of_loki(loki), lag)


def _of_loki(loki: Loki | None) -> Logs | None:
    if loki is None:
        return None

    async def find(trace_id: str) -> list[dict[str, Any]]:
        now_ns = time.time_ns()
        return await loki.query(of_trace(trace_id), now_ns - _LOOK_BACK_NS, now_ns)

    return Logs(f"LogQL at {loki.url}", find)


def _lacking(seen: cascade.Cascade) -> list[str]:
    return [
        f"{name}: {node.why or node.look.message or node.look.state.value}"
        for name, node in seen.nodes.items()
        if not node.look.good
    ]


def traced() -> tuple[str, dict[str, str]]:
    """Return a new trace id and the header that gives it to whoever is asked."""
    trace_id = trace_context.adopt(None)
    return trace_id, trace_context.headers()
