"""Components of the running api: built by the app factory, used by the routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog
from fastapi import Request

from barnabee.api.command_handler import CommandHandler
from barnabee.api.embedding_cache import EmbeddingCache
from barnabee.api.log_reader import TurnLogReader
from barnabee.api.status_watcher import EventBus, StatusWatcher
from barnabee.api.turn_recorder import TurnWriter
from barnabee.api.web_sessions import LoginLinks, WebSessions
from barnabee.clients.alertmanager import AlertmanagerClient
from barnabee.clients.queue import JobQueue
from barnabee.clients.service_client import ServiceClient, make_service_url
from barnabee.core.auth import Authenticator, Client, make_token_reader
from barnabee.core.errors import BarnabeeError, NotFound, Unauthorized
from barnabee.core.health import Degraded
from barnabee.core.rate_limit import RateLimiter
from barnabee.core.redis_client import RedisClient
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.core.tokens import Scope
from barnabee.store.provider import DatabaseProvider
from barnabee.store.sessions import Sessions
from barnabee.understanding.home_recognizer import warm_up
from barnabee.understanding.interfaces import HomeControl, LanguageModel, SentenceEmbedder
from barnabee.understanding.spoken_forms import say_number

ADMIN_TOKEN_CHECK_EVERY_S = 1.0
END_ROOMS_ATTEMPTS = 5
END_ROOMS_LIMIT_S = 1.0

log = structlog.get_logger()


class RemoteService(Protocol):
    """Client of another service."""

    async def ready(self) -> Degraded | None:
        """Check the service; raises BarnabeeError if it is not ready."""

    async def aclose(self) -> None:
        """Close the connections."""


class GpuService(SentenceEmbedder, RemoteService, Protocol):
    """Client of the gpu service."""


class HomeAssistantService(HomeControl, RemoteService, Protocol):
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
    clients: dict[str, ServiceClient]  # by service name; the dashboard reaches them through the api
    log_reader: TurnLogReader
    alertmanager: AlertmanagerClient
    embedding_cache: EmbeddingCache
    gpu: GpuService
    home: HomeAssistantService | None
    llm: LanguageModelService | None
    follow_time_zone: Callable[[], Awaitable[None]]
    event_bus: EventBus = field(default_factory=EventBus)
    status_watcher: StatusWatcher = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the background tasks; close all connections at the end."""
        if self.home is not None:
            self.home.start()
            self._start_task("home-sentences", partial(asyncio.to_thread, warm_up))
        self._start_task("spoken-numbers", partial(asyncio.to_thread, say_number, 0))  # the import
        self.web_sessions.on_revoked = self._end_rooms
        self._start_task("admin-token", self._watch_admin_token)
        self._start_task("flush", self.turn_writer.flush_periodically)
        self._start_task("status", self.status_watcher.run)
        self._start_task("time-zone", self.follow_time_zone)
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

    async def _watch_admin_token(self) -> None:
        """End all web sessions when the token that signs their cookies was replaced."""
        read_token = make_token_reader(Scope.ADMIN)
        first = read_token()
        while True:
            await asyncio.sleep(ADMIN_TOKEN_CHECK_EVERY_S)
            if read_token() != first:
                first = read_token()
                self.web_sessions.revoke_all()

    def check_session(self, client: Client) -> None:
        """End the rooms of a browser without a session; raises Unauthorized."""
        session_id = client.name.removeprefix("browser:")
        if client.is_browser and not self.web_sessions.touch(session_id):
            self._end_rooms(session_id)
            raise Unauthorized

    def _end_rooms(self, session_id: str) -> None:
        self._start_task("end-rooms", partial(self._end_rooms_at_voice, session_id))

    async def _end_rooms_at_voice(self, session_id: str) -> None:
        """End the conversations of a revoked browser. A voice service that is down has none."""
        client, path = self.clients.get("voice"), f"/v1/rooms?client=browser:{session_id}"
        if client is None:
            return
        for _attempt in range(END_ROOMS_ATTEMPTS):
            try:
                await client.request_json("DELETE", path, limit_s=END_ROOMS_LIMIT_S)
            except BarnabeeError as error:
                log.warning("rooms_not_ended", code=error.code, reason=str(error))
                await asyncio.sleep(END_ROOMS_LIMIT_S)
            else:
                return

    def _start_task(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
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


def make_clients(system: System, settings: Settings) -> dict[str, ServiceClient]:
    """Return clients of the HTTP services, at the configured URLs or else on this machine.

    Each sends a token of the scope that the service needs, so that none can act as the api.
    """
    configured = {
        "gpu": settings.gpu_service_urls[0],
        "voice": settings.voice_url,
        "worker": settings.worker_url,
        "litestream": settings.litestream_url,
    }
    scopes = {"gpu": Scope.INFER, "voice": Scope.TALK}
    return {
        name: ServiceClient(
            name,
            make_service_url(configured.get(name, ""), settings.bind, config.port),
            make_token_reader(scopes.get(name, Scope.METRICS)) if config.module else "",
        )
        for name, config in system.service.items()
        if config.probe == "http" and name != "api"
    }


def get_service(request: Request) -> ApiService:
    """Return the api's components, which the app factory stores in the application's state."""
    service: ApiService = request.app.state.service
    return service
