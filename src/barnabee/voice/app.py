"""Builds the service out of its clients, routes, health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI

from barnabee import __version__
from barnabee.clients.api import ApiClient
from barnabee.clients.gpu import GpuClient, Names
from barnabee.clients.wake_servers import WakeServers
from barnabee.core.auth import Access
from barnabee.core.errors import Loading, Misconfigured
from barnabee.core.health import Health
from barnabee.core.http import Front, handle_errors, standard_routes
from barnabee.core.serve import Running
from barnabee.core.settings import required_credential
from barnabee.store.recordings import FOLDER
from barnabee.voice import filler_files, health, logs
from barnabee.voice.fillers import Clip
from barnabee.voice.latency_estimator import Estimate
from barnabee.voice.metrics import VoiceMetrics
from barnabee.voice.pipeline import House
from barnabee.voice.recording import RecordingMetrics, Recordings
from barnabee.voice.room_registry import Rooms
from barnabee.voice.routes import offer, talk
from barnabee.voice.silero_vad import Detectors
from barnabee.voice.transports import ice_ports
from barnabee.voice.turn_analyzer import Ends
from barnabee.voice.turn_recorder import Keeping

if TYPE_CHECKING:
    from barnabee.core.schema import System
    from barnabee.core.settings import Settings

BODY_MAX_BYTES = 64 * 1024
GRACE_S = 1  # rooms are ended before, by `Rooms.end`
# A model may have to be loaded first (card.wait_limit_ms), and a filler is heard meanwhile.
PATIENCE_S = 5
COMMAND_S = 20.0  # a language model's answer, and its one retry

log = structlog.get_logger()


@dataclass(frozen=True)
class Phrases:
    """The recorded phrases, or what is wrong with them."""

    folder: Path
    clips: Mapping[str, Sequence[Clip]]
    missing: str | None = None

    @classmethod
    def of(cls, settings: Settings, rate_hz: int) -> Phrases:
        """Return what there is; a house without recordings talks all the same."""
        folder = settings.fillers_dir or settings.data_dir / "fillers"
        try:
            clips = filler_files.load(folder)
        except Misconfigured as error:
            log.warning("no_recordings", code=error.code, reason=str(error))
            return cls(folder, {}, str(error))
        odd = sorted(one.name for kind in clips.values() for one in kind if one.rate_hz != rate_hz)
        if odd:
            reason = f"{odd[0]} is not at {rate_hz} Hz: run `barnabee fillers generate`"
            return cls(folder, {}, reason)
        return cls(folder, clips)


def build(
    system: System,
    settings: Settings,
    *,
    access: Access | None = None,
    metrics: VoiceMetrics | None = None,
) -> Running:
    """Return the service; it answers at once, and connects to nothing before a room does."""
    logs.adopt()
    metrics = metrics or VoiceMetrics("voice")
    access = access or Access(required_credential("api_token"))
    talk_table = system.talk
    ice_ports.keep_to(range(talk_table.media_port_first, talk_table.media_port_last + 1))
    phrases = Phrases.of(settings, system.voice.sample_rate_hz)
    parts = _Parts(system, settings, access.token, phrases, metrics)
    rooms = Rooms(talk_table.rooms_max, metrics.sessions.set)
    checks = health.checks(
        gpu=parts.gpu.ready,
        api=parts.api.ready,
        recordings=health.recorded(phrases.folder, phrases.missing),
        ready=lambda: parts.there is not None,
    )
    looks = Health("voice", checks, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with parts.running():
            yield

    app = FastAPI(title="BarnabeeNet voice", version=__version__, lifespan=lifespan)
    handle_errors(app)
    app.include_router(offer.router(parts.house, rooms))
    app.router.routes.extend([talk.route(parts.house, rooms), *standard_routes(looks, metrics)])
    front = Front(app, metrics, access, body_max_bytes=BODY_MAX_BYTES)
    return Running(front, looks, GRACE_S, rooms.end)


class _Parts:
    """What all rooms share: the clients at once, the models when the service has started."""

    def __init__(
        self,
        system: System,
        settings: Settings,
        token: str,
        phrases: Phrases,
        metrics: VoiceMetrics,
    ) -> None:
        patience_s = system.card.wait_limit_ms / 1000 + PATIENCE_S
        names, urls = Names.of(settings), settings.gpu_service_urls
        self.gpu = GpuClient(urls, token, names=names, timeout_s=patience_s)
        self.api = ApiClient(settings.api_url, token, timeout_s=COMMAND_S)
        self.there: House | None = None
        self._system, self._metrics, self._phrases = system, metrics, phrases
        self._wakes, self._token = WakeServers(urls), token
        folder, series = settings.data_dir / FOLDER, RecordingMetrics.register(metrics)
        self._keeping = Keeping(
            self.api.report,
            Recordings(folder, system.recording, series),
            {clip.name: clip.words for kind in phrases.clips.values() for clip in kind},
        )

    def house(self) -> House:
        """Return what rooms are made of; Loading before the service has started."""
        if self.there is None:
            raise Loading(what="the voice pipeline")
        return self.there

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the small models, and let go of everything at the end."""
        ends = await asyncio.to_thread(Ends)
        await ends.warm_up()
        self.there = House(
            system=self._system,
            gpu=self.gpu,
            api=self.api,
            detectors=await asyncio.to_thread(Detectors),
            ends=ends,
            estimate=Estimate(budget_ms(self._system)),
            clips=self._phrases.clips,
            keeping=self._keeping,
            metrics=self._metrics,
            wakes=self._wakes,
            token=self._token,
        )
        try:
            yield
        finally:
            self.there = None
            await self._keeping.aclose()
            await ends.aclose()
            await self.gpu.aclose()
            await self.api.aclose()


def budget_ms(system: System) -> dict[str, int]:
    """Return what each stage should take, by the names of the estimate. Pure."""
    stage = system.stage
    return {
        "stt": stage.stt_ms,
        "command": stage.intent_ms + stage.home_ms,
        "tts": stage.tts_first_byte_ms,
    }
