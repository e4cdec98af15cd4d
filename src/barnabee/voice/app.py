"""Application factory of the voice service, and its health checks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI
from loguru import logger

from barnabee import __version__
from barnabee.clients.api import ApiClient
from barnabee.clients.gpu import GpuClient, ModelNames
from barnabee.clients.load_balancer import WakeServerPool
from barnabee.core.auth import RouteScopes, make_token_reader, open_authenticator
from barnabee.core.errors import Misconfigured, StillLoading
from barnabee.core.health import Degraded, HealthCheck, HealthMonitor, HealthProbe
from barnabee.core.http import ServiceMiddleware, add_error_handlers, make_standard_routes
from barnabee.core.rate_limit import make_login_limiter
from barnabee.core.serve import ServiceApp
from barnabee.core.tokens import Scope
from barnabee.store.recordings import FOLDER
from barnabee.voice import fillers, routes
from barnabee.voice.announcements import AnnouncementBoard
from barnabee.voice.fillers import Clip, LatencyEstimator
from barnabee.voice.metrics import VoiceMetrics
from barnabee.voice.pipeline import SharedServices
from barnabee.voice.room_registry import RoomRegistry
from barnabee.voice.routes import make_announcement_router
from barnabee.voice.transports import webrtc
from barnabee.voice.turn_recorder import RecordingMetrics, RecordingWriter, TurnRecorder
from barnabee.voice.vad import SileroPool, TurnAnalyzer

if TYPE_CHECKING:
    from loguru import Message

    from barnabee.core.schema import System
    from barnabee.core.settings import Settings

BODY_MAX_BYTES = 64 * 1024

log = structlog.get_logger()


def make_checks(
    *,
    gpu: HealthProbe,
    api: HealthProbe,
    recordings: Callable[[], Awaitable[Degraded | None]],
    ready: Callable[[], bool],
) -> list[HealthCheck]:

    async def pipeline() -> Degraded | None:
        if not ready():
            raise StillLoading(what="the voice pipeline")
        return None

    return [
        HealthCheck("pipeline", pipeline, hard=True),
        HealthCheck("gpu", gpu, hard=False),
        HealthCheck("api", api, hard=False),
        HealthCheck("recordings", recordings, hard=False),
    ]


def make_recordings_probe(
    folder: Path, problem: str | None
) -> Callable[[], Awaitable[Degraded | None]]:

    async def probe() -> Degraded | None:
        return Degraded("recordings_missing", f"{folder}: {problem}") if problem else None

    return probe


ROUTE_SCOPES = RouteScopes(
    {
        "POST /v1/offer": Scope.TALK,
        "PATCH /v1/offer": Scope.TALK,
        "GET /v1/rooms": Scope.TALK,
        "DELETE /v1/rooms": Scope.TALK,
        "WEBSOCKET /v1/talk": Scope.TALK,
        "PUT /v1/rings": Scope.TALK,
        "POST /v1/announcements": Scope.TALK,
    }
)
SHUTDOWN_GRACE_S = 1  # rooms are closed before, by `RoomRegistry.close`
# Beyond gpu.wait_limit_ms, in which a model may be loaded; a filler is played meanwhile.
MODEL_TIMEOUT_MARGIN_S = 5
COMMAND_TIMEOUT_S = 20.0  # an answer of the language model, and one retry
PIPECAT_LOG_LEVEL = "WARNING"
# Logged for every WebRTC connection: it has no video, and the browser ends it.
EXPECTED_WARNINGS = (
    "No video transceiver",
    "No screen video transceiver",
    "Media stream error while",
)


@dataclass(frozen=True)
class RecordedPhrases:
    """Recorded phrases by category; `problem` says why there are none."""

    folder: Path
    clips: Mapping[str, Sequence[Clip]]
    problem: str | None = None

    @classmethod
    def load(cls, settings: Settings, rate_hz: int) -> RecordedPhrases:
        """Load the recordings; the service also runs without them."""
        folder = settings.fillers_dir or settings.data_dir / "fillers"
        try:
            clips = fillers.load_recordings(folder)
        except Misconfigured as error:
            log.warning("no_recordings", code=error.code, reason=str(error))
            return cls(folder, {}, str(error))
        wrong_rate = sorted(
            clip.name for group in clips.values() for clip in group if clip.rate_hz != rate_hz
        )
        if wrong_rate:
            problem = f"{wrong_rate[0]} is not at {rate_hz} Hz: run `barnabee fillers generate`"
            return cls(folder, {}, problem)
        return cls(folder, clips)


def build(
    system: System,
    settings: Settings,
    *,
    metrics: VoiceMetrics | None = None,
) -> ServiceApp:
    """Return the service; models are loaded when it starts, other services contacted on demand."""
    redirect_pipecat_logs()
    metrics = metrics or VoiceMetrics("voice")
    talk = system.talk
    webrtc.restrict_ports(range(talk.media_port_first, talk.media_port_last + 1))
    phrases = RecordedPhrases.load(settings, system.voice.sample_rate_hz)
    components = _Components(system, settings, phrases, metrics)
    rooms = RoomRegistry(talk.rooms_max, metrics.sessions.set)
    checks = make_checks(
        gpu=components.gpu.ready,
        api=components.api.ready,
        recordings=make_recordings_probe(phrases.folder, phrases.problem),
        ready=lambda: components.shared is not None,
    )
    monitor = HealthMonitor("voice", checks, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with components.running():
            yield

    app = FastAPI(title="BarnabeeNet voice", version=__version__, lifespan=lifespan)
    add_error_handlers(app)
    app.include_router(routes.make_router(components.get_shared, rooms))
    app.include_router(make_announcement_router(components.board))
    app.router.routes.append(routes.make_talk_route(components.get_shared, rooms))
    app.router.routes.extend(make_standard_routes(monitor, metrics))
    middleware = ServiceMiddleware(
        app,
        metrics,
        open_authenticator(),
        BODY_MAX_BYTES,
        scopes=ROUTE_SCOPES,
        wrong_tokens=make_login_limiter(system.limits),
    )
    return ServiceApp(middleware, monitor, SHUTDOWN_GRACE_S, rooms.close)


class _Components:
    """Clients of other services, and the models that are loaded at start-up."""

    def __init__(
        self,
        system: System,
        settings: Settings,
        phrases: RecordedPhrases,
        metrics: VoiceMetrics,
    ) -> None:
        timeout_s = system.gpu.wait_limit_ms / 1000 + MODEL_TIMEOUT_MARGIN_S
        names, urls = ModelNames.from_settings(settings), settings.gpu_service_urls
        infer = make_token_reader(Scope.INFER)
        self.gpu = GpuClient(urls, infer, names=names, timeout_s=timeout_s)
        talk = make_token_reader(Scope.TALK)
        self.api = ApiClient(settings.api_url, talk, timeout_s=COMMAND_TIMEOUT_S)
        self.board = AnnouncementBoard(system.schedule)
        self.shared: SharedServices | None = None
        self._system, self._metrics, self._phrases = system, metrics, phrases
        self._wake_servers, self._token = WakeServerPool(urls), infer
        folder, series = settings.data_dir / FOLDER, RecordingMetrics.register(metrics)
        self._recorder = TurnRecorder(
            self.api.send_report,
            RecordingWriter(folder, system.recording, series),
            {clip.name: clip.text for group in phrases.clips.values() for clip in group},
        )

    def get_shared(self) -> SharedServices:
        """Return what all rooms share; StillLoading before the service has started."""
        if self.shared is None:
            raise StillLoading(what="the voice pipeline")
        return self.shared

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the small models; close everything at the end."""
        turn_analyzer = await asyncio.to_thread(TurnAnalyzer)
        await turn_analyzer.warm_up()
        self.shared = SharedServices(
            system=self._system,
            gpu=self.gpu,
            api=self.api,
            vad_pool=await asyncio.to_thread(SileroPool),
            turn_analyzer=turn_analyzer,
            estimator=LatencyEstimator(get_stage_budgets_ms(self._system)),
            clips=self._phrases.clips,
            recorder=self._recorder,
            metrics=self._metrics,
            wake_servers=self._wake_servers,
            token=self._token,
            board=self.board,
        )
        try:
            yield
        finally:
            self.shared = None
            await self._recorder.aclose()
            await turn_analyzer.aclose()
            await self.gpu.aclose()
            await self.api.aclose()


def get_stage_budgets_ms(system: System) -> dict[str, int]:
    """Return the latency budgets by the stages of `LatencyEstimator`. Pure."""
    stage = system.stage
    return {
        "stt": stage.stt_ms,
        "command": stage.intent_ms + stage.home_ms,
        "tts": stage.tts_first_byte_ms,
    }


def redirect_pipecat_logs() -> None:
    """Send the warnings of Pipecat, which logs with loguru, through structlog."""
    logger.remove()
    logger.add(
        _forward_log_message,
        level=PIPECAT_LOG_LEVEL,
        format="{message}",
        backtrace=False,
        diagnose=False,
    )


def _forward_log_message(message: Message) -> None:
    record: dict[str, Any] = dict(message.record)
    if record["message"].startswith(EXPECTED_WARNINGS):
        return
    fields = {"logger": record["name"], "stage": "pipecat"}
    if record["exception"]:
        fields["exception"] = repr(record["exception"].value)
    write = log.error if record["level"].no >= logger.level("ERROR").no else log.warning
    write(str(record["message"])[:500], **fields)
