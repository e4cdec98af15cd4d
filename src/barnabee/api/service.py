"""Components of the running api: built by the app factory, used by the routes."""

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
from barnabee.api.rate_limit import RateLimiter
from barnabee.api.status_watcher import StatusWatcher
from barnabee.api.turn_recorder import TurnWriter
from barnabee.api.web_sessions import LoginLinks, WebSessions
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
from barnabee.understanding.interfaces import HomeAgent, LanguageModel, SentenceEmbedder

log = structlog.get_logger()


class RemoteService(Protocol):
    """Client of another service."""

    async def ready(self) -> Degraded | None:
        """Check the service; raises BarnabeeError if it is not ready."""

    async def aclose(self) -> None:
        """Close the connections."""


class GpuService(SentenceEmbedder, RemoteService, Protocol):
    """Client of the gpu service."""


class HomeAssistantService(HomeAgent, RemoteService, Protocol):
    """Client of Home Assistant."""

    def start(self) -> None:
        """Start to connect in the background."""


class LanguageModelService(LanguageModel, RemoteService, Protocol):
    """Client of a language model."""


@dataclass(frozen=True)
class Overrides:
    """Clients that tests replace; None is the configured one."""

    gpu: GpuService | None = None
    home: HomeAssistantService | None = None
    llm: LanguageModelService | None = None


@dataclass
class ApiService:
    """All components of the api."""

    system: System
    settings: Settings
    authenticator: Authenticator
    redis: RedisClient
    database_provider: DatabaseProvider
    queue: JobQueue
    sessions: Sessions
    turn_writer: TurnWriter
    command_handler: CommandHandler
    rate_limiter: RateLimiter
    login_links: LoginLinks
    login_rate_limiter: RateLimiter
    web_sessions: WebSessions
    event_bus: EventBus
    clients: dict[str, ServiceClient]  # by service name; the dashboard reaches them through the api
    log_reader: TurnLogReader
    alertmanager: AlertmanagerClient
    embedding_cache: EmbeddingCache
    gpu: GpuService
    home: HomeAssistantService | None
    llm: LanguageModelService | None
    status_watcher: StatusWatcher = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the background tasks; close all connections at the end."""
        if self.home is not None:
            self.home.start()
        self._start_task("flush", self.turn_writer.flush_periodically)
        self._start_task("status", self.status_watcher.run)
        if not self.embedding_cache.load():
            self._start_task("embed-intents", self.embedding_cache.compute)
        try:
            yield
        finally:
            await self._close()

    def get_client(self, name: str) -> ServiceClient:
        """Return the client of a service; NotFound if the service is not configured."""
        if name not in self.clients:
            raise NotFound(what=f"service {name}")
        return self.clients[name]

    async def before_shutdown(self) -> None:
        """Close event streams so that they do not delay shutdown."""
        self.event_bus.close()

    def _start_task(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await work()

        task = asyncio.create_task(run(), name=name)
        task.add_done_callback(_log_failure)
        self._tasks.append(task)

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        for service in (self.home, self.llm, self.gpu):
            if service is not None:
                await service.aclose()
        for client in self.clients.values():
            await client.aclose()
        await self.log_reader.aclose()
        await self.alertmanager.aclose()
        await self.redis.aclose()
        await self.database_provider.close()


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("task_failed", code="internal", task=task.get_name(), exc_info=task.exception())


def get_service(request: Request) -> ApiService:
    """Return the api's components, which the app factory stores in the application's state."""
    service: ApiService = request.app.state.service
    return service
