"""Which token opens which route, on every service."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from unittest.mock import MagicMock

import httpx
import pytest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

import barnabee.api.app
import barnabee.gpu.app
import barnabee.voice.app
from barnabee.core.auth import Authenticator, RouteScopes
from barnabee.core.health import HealthMonitor
from barnabee.core.http import PUBLIC_PATHS, ServiceMiddleware, make_standard_routes
from barnabee.core.metrics import Metrics
from barnabee.core.tokens import Scope, TokenTable, make_entry
from barnabee.gpu.routes import chat, embeddings, models, speech, transcriptions, wake
from barnabee.voice import routes as voice_routes
from barnabee.voice.room_registry import RoomRegistry
from barnabee.voice.routes import make_announcement_router

TALK, INFER, METRICS, ADMIN = Scope
STANDARD: dict[str, Scope | None] = {
    "GET /health": None,
    "GET /health/live": None,
    "GET /health/ready": None,
    "GET /metrics": METRICS,
}
# None: no credentials needed. A new route is added here with the scope that it needs.
EXPECTED: dict[str, dict[str, Scope | None]] = {
    "api": STANDARD
    | {
        "GET /login": None,
        "POST /api/login": None,
        "POST /v1/command": TALK,
        "POST /v1/turns/{trace_id}/spoken": TALK,
        "POST /v1/notifications": TALK,  # and for our own services only
        "POST /api/talk/offer": TALK,
        "PATCH /api/talk/offer": TALK,
        "GET /": ADMIN,  # without a build of the dashboard
        "GET /api/browsers": ADMIN,
        "DELETE /api/browsers/{browser}": ADMIN,
        "GET /api/events": ADMIN,
        "GET /api/gpu": ADMIN,
        "POST /api/gpu/models/{model}/load": ADMIN,
        "POST /api/gpu/models/{model}/unload": ADMIN,
        "POST /api/links": ADMIN,
        "POST /api/logout": ADMIN,
        "GET /api/now": ADMIN,
        "GET /api/session": ADMIN,
        "GET /api/system": ADMIN,
        "GET /openapi.json": ADMIN,
        "GET /v1/backups": ADMIN,
        "POST /v1/backups/rehearse": ADMIN,
        "GET /v1/sessions/{session_id}": ADMIN,
        "GET /v1/turns": ADMIN,
        "GET /v1/turns/{trace_id}": ADMIN,
        "GET /v1/turns/{trace_id}/spoken": ADMIN,
        "GET /v1/turns/{trace_id}/waterfall": ADMIN,
    },
    "voice": STANDARD
    | {
        "POST /v1/offer": TALK,
        "PATCH /v1/offer": TALK,
        "GET /v1/rooms": TALK,
        "DELETE /v1/rooms": TALK,
        "WEBSOCKET /v1/talk": TALK,
        "PUT /v1/rings": TALK,  # these two for our own services only
        "POST /v1/announcements": TALK,
    },
    "gpu": STANDARD
    | {
        "POST /v1/audio/transcriptions": INFER,
        "POST /v1/audio/speech": INFER,
        "GET /v1/audio/voices": INFER,
        "POST /v1/embeddings": INFER,
        "GET /v1/models": INFER,
        "GET /v1/models/{model}": INFER,
        "POST /v1/models/{model}/load": ADMIN,
        "POST /v1/models/{model}/unload": ADMIN,
        "GET /v1/vram": INFER,
        "POST /v1/turns": INFER,
        "DELETE /v1/turns/{turn}": INFER,
        "POST /v1/chat/completions": INFER,  # with a language model
        "WEBSOCKET /v1/wake": INFER,
    },
    "worker": STANDARD,
}
SCOPES = {
    "api": barnabee.api.app.ROUTE_SCOPES,
    "voice": barnabee.voice.app.ROUTE_SCOPES,
    "gpu": barnabee.gpu.app.ROUTE_SCOPES,
    "worker": RouteScopes({}),
}
ROUTES = [
    pytest.param(service, route, needed, id=f"{service} {route}")
    for service, routes in EXPECTED.items()
    for route, needed in routes.items()
]


def list_routes(service: str) -> list[BaseRoute]:
    metrics = Metrics(service)
    routes: list[BaseRoute] = [*make_standard_routes(HealthMonitor(service, [], metrics), metrics)]
    if service == "api":
        for route in barnabee.api.app.make_documented_app().routes:
            # FastAPI wraps an included router.
            router = getattr(route, "original_router", None)
            routes += router.routes if router is not None else [route]
    if service == "voice":
        rooms = RoomRegistry(1, lambda _count: None)
        routes += voice_routes.make_router(MagicMock(), rooms).routes
        routes.append(voice_routes.make_talk_route(MagicMock(), rooms))
        routes += make_announcement_router(MagicMock()).routes
    if service == "gpu":
        for module in (transcriptions, speech, embeddings, chat, models, wake):
            parameters = inspect.signature(module.make_router).parameters
            routes += module.make_router(*[MagicMock()] * len(parameters)).routes
    return routes


def describe_routes(routes: Iterable[BaseRoute]) -> set[str]:
    found = set()
    for route in routes:
        if isinstance(route, Route):
            found |= {f"{method} {route.path}" for method in route.methods or ()}
        elif isinstance(route, WebSocketRoute) or hasattr(route, "path"):
            found.add(f"WEBSOCKET {route.path}")  # type: ignore[attr-defined]
    return {route for route in found if not route.startswith("HEAD ")}


@pytest.mark.parametrize("service", EXPECTED)
def test_every_route_has_a_declared_scope(service: str) -> None:
    assert describe_routes(list_routes(service)) == set(EXPECTED[service])


@pytest.mark.parametrize("service", EXPECTED)
def test_no_scope_is_declared_for_a_route_that_does_not_exist(service: str) -> None:
    assert set(SCOPES[service].declared) <= set(EXPECTED[service])


async def answer(scope: AsgiScope, receive: Receive, send: Send) -> None:
    await Response("in")(scope, receive, send)


def make_client(service: str) -> httpx.AsyncClient:
    table = TokenTable(fixed=[make_entry(scope, f"{scope}-token") for scope in Scope])
    public = PUBLIC_PATHS | (barnabee.api.app.LOGIN_PATHS if service == "api" else set())
    front = ServiceMiddleware(
        answer, Metrics(service), Authenticator(table=table), 1000, public, SCOPES[service]
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://barnabee")


@pytest.mark.parametrize(("service", "route", "needed"), ROUTES)
async def test_a_token_opens_the_routes_of_its_scope_only(
    service: str, route: str, needed: Scope | None
) -> None:
    method, path = route.replace("{", "").replace("}", "").split()
    async with make_client(service) as client:
        assert (await client.request(method, path)).status_code == (401 if needed else 200)
        for scope in Scope:
            headers = {"Authorization": f"Bearer {scope}-token"}
            response = await client.request(method, path, headers=headers)
            if needed in {None, scope} or scope == ADMIN:
                assert response.status_code == 200, scope
            else:
                assert (response.status_code, response.json()["code"]) == (403, "forbidden")
                expected = f"This needs a token of the scope {needed}; the one given has"
                assert response.json()["message"].startswith(expected)


async def test_an_undeclared_route_needs_admin() -> None:
    async with make_client("api") as client:
        for scope in Scope:
            headers = {"Authorization": f"Bearer {scope}-token"}
            response = await client.get("/v1/anything/new", headers=headers)
            assert response.status_code == (200 if scope == ADMIN else 403)
