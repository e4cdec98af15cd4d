"""Server under measurement: the real api with instant fake engines, or a bare route.

usage: api_server.py real|bare. Both run with `core.serve`, with the same HTTP server and settings.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from barnabee.api.app import build_api_service
from barnabee.api.service import Overrides
from barnabee.core import serve
from barnabee.core.health import HealthMonitor
from barnabee.core.metrics import Metrics
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.understanding.interfaces import Area, Entity, Home, HomeAnswer
from support.fake_engines import FakeGpuClient

REPLY = {
    "reply": "Turned on the light",
    "intent": "home_control",
    "actions": [{"type": "entity", "name": "Kitchen Light", "id": "light.kitchen"}],
    "session_id": "bench-1",
    "trace_id": "0" * 32,
    "degraded": [],
    "code": None,
    "latency_ms": {
        "intent": 0.06,
        "home": 0.01,
        "session": 0.2,
        "store": 0.3,
        "total": 0.6,
    },
}


class InstantHome:
    """Home Assistant without delay."""

    def start(self) -> None:
        pass

    async def ready(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def converse(
        self,
        text: str,
        *,
        conversation_id: str | None = None,
        language: str = "en",
        room: str | None = None,
        only: Collection[str] | None = None,
    ) -> HomeAnswer:
        action = {"type": "entity", "name": "Kitchen Light", "id": "light.kitchen"}
        return HomeAnswer("action_done", "Turned on the light", None, (action,))

    async def read_home(self) -> Home:
        light = Entity("light.kitchen", ("Kitchen Light",), "kitchen", "on")
        return Home({light.entity_id: light}, {"kitchen": Area("kitchen", ("Kitchen",))})

    async def call_service(
        self,
        service: str,
        entity_ids: Collection[str] = (),
        data: Mapping[str, Any] | None = None,
        *,
        has_response: bool = False,
    ) -> Mapping[str, Any]:
        return {}


class Body(BaseModel):
    utterance: str
    session_id: str | None = None
    speaker: str | None = None


def build_real_api(system: System, settings: Settings) -> serve.ServiceApp:
    return build_api_service(
        system, settings, overrides=Overrides(gpu=FakeGpuClient(), home=InstantHome())
    )


def build_bare_route(_system: System, _settings: Settings) -> serve.ServiceApp:
    app = FastAPI()

    @app.post("/v1/command")
    async def command(body: Body) -> dict[str, Any]:
        return {**REPLY, "session_id": body.session_id}

    return serve.ServiceApp(app, HealthMonitor("bare", [], Metrics("bare")))


if __name__ == "__main__":
    serve.run_service("api", build_real_api if sys.argv[1] == "real" else build_bare_route)
