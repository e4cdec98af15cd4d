"""Everything the api is made of, in one value: the routes get it, the app factory makes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from fastapi import Request

from barnabee.api.command_handler import CommandHandler
from barnabee.api.embedding_cache import EmbeddingCache
from barnabee.api.event_bus import EventBus
from barnabee.api.log_reader import TurnLogReader
from barnabee.api.web_sessions import LoginLinks
from barnabee.api.rate_limit import RateLimiter
from barnabee.api.status_watcher import StatusWatcher
from barnabee.api.turn_recorder import TurnWriter
from barnabee.api.web_sessions import WebSessions
from barnabee.clients.alertmanager import AlertmanagerClient
from barnabee.clients.queue import JobQueue
from barnabee.clients.service_client import ServiceClient
from barnabee.core.auth import Authenticator
from barnabee.core.errors import NotFound
from barnabee.core.health import Degraded
from barnabee.core.redis_client import RedisClient
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store.provider import DatabaseProvider
from barnabee.store.sessions import Sessions
from barnabee.understanding.interfaces import SentenceEmbedder, HomeAgent, LanguageModel

log = structlog.get_logger()


class RemoteService(Protocol):
    """Something elsewhere that can be asked how it is, and left."""

    async def ready(self) -> Degraded | None:
        """Return when all is well; raise otherwise."""

    async def aclose(self) -> None:
        """Hang up."""


class GpuService(SentenceEmbedder, RemoteService, Protocol):
    """The gpu service."""


class HomeAssistantService(HomeAgent, RemoteService, Protocol):
    """Home Assistant."""

    def start(self) -> None:
        """Begin to keep the connection."""


class LanguageModelService(LanguageModel, RemoteService, Protocol):
    """A language model."""


@dataclass(frozen=True)
class Overrides:
    """What tests put in place of the world; None is the real thing."""

    gpu: GpuService | None = None
    home: HomeAssistantService | None = None
    llm: LanguageModelService | None = None


@dataclass
class ApiService:
    """The running parts of the api."""

    system: System
    settings: Settings
    access: Authenticator
    redis: RedisClient
    database_provider: DatabaseProvider
    queue: JobQueue
    sessions: Sessions
    recorder: TurnWriter
    dialogue: CommandHandler
    limiter: RateLimiter
    logins: LoginLinks
    login_limiter: RateLimiter
    browsers: WebSessions
    news: EventBus
    neighbours: dict[str, ServiceClient]  # services by name, as a page asks them through us
    lines: TurnLogReader
    alertmanager: AlertmanagerClient
    vectors: EmbeddingCache
    gpu: GpuService
    home: HomeAssistantService | None
    llm: LanguageModelService | None
    watch: StatusWatcher = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the connections and background tasks while inside."""
        if self.home is not None:
            self.home.start()
        self._spawn("flush", self.recorder.flush_for_ever)
        self._spawn("watch", self.watch.run_for_ever)
        if not self.vectors.load():
            self._spawn("learn-intents", self.vectors.learn)
        try:
            yield
        finally:
            await self._close()

    def neighbour(self, name: str) -> ServiceClient:
        """Return the way to a service; NotFound where this house has none of that name."""
        if name not in self.neighbours:
            raise NotFound(what=f"service {name} in this house")
        return self.neighbours[name]

    async def farewell(self) -> None:
        """Let the open pages go, which would hold the end up."""
        self.news.end()

    def _spawn(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await work()

        task = asyncio.create_task(run(), name=name)
        task.add_done_callback(_tell_if_broken)
        self._tasks.append(task)

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        for part in (self.home, self.llm, self.gpu):
            if part is not None:
                await part.aclose()
        for neighbour in self.neighbours.values():
            await neighbour.aclose()
        await self.lines.aclose()
        await self.alertmanager.aclose()
        await self.redis.aclose()
        await self.database_provider.close()


def _tell_if_broken(task: asyncio.Task[None]) -> None:
    """Say in the log that something which should run for ever does not."""
    if not task.cancelled() and task.exception() is not None:
        log.error("task_broken", code="internal", task=task.get_name(), exc_info=task.exception())


def get_service(request: Request) -> ApiService:
    """Return the service that answers `request`."""
    service: ApiService = request.app.state.service
    return service
