"""Real api with what the dashboard's routes need: fake engines and a fake voice service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from support import fake_engines as fakes
from support.api import TOKEN, ApiProcess
from support.asgi_server import serve_app

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
ANSWER = {"sdp": "v=0", "type": "answer", "pc_id": "pc-1", "room": "page-1"}


async def _handle_offer(request: Request) -> Response:
    body = await request.json()
    if request.headers["authorization"] != f"Bearer {TOKEN}":
        return JSONResponse({"code": "unauthorized", "message": "no"}, 401)
    if body["sdp"] == "nonsense":
        error = {"code": "bad_request", "message": "The field `sdp` is invalid: no."}
        return JSONResponse(error, 400)
    return JSONResponse(ANSWER)


def make_voice_app() -> Starlette:
    """Return a voice service that answers offers and lists one room."""
    rooms = {"rooms": [{"room": "kitchen", "state": "listening", "since_s": 5.0}]}
    return Starlette(
        routes=[
            Route("/v1/offer", _handle_offer, methods=["POST"]),
            Route("/v1/offer", lambda _: Response(status_code=204), methods=["PATCH"]),
            Route("/v1/rooms", lambda _: JSONResponse(rooms)),
        ]
    )


@asynccontextmanager
async def run_dashboard_api(
    directory: Path, redis_url: str, *, logins_per_minute: int = 5
) -> AsyncIterator[ApiProcess]:
    async with serve_app(fakes.make_gpu_app()) as engines, serve_app(make_voice_app()) as voice_url:
        process = ApiProcess(
            directory,
            redis_url,
            tables={"limits": {"logins_per_minute": logins_per_minute}},
            environment={
                "GPU_SERVICE_URL": engines,
                "VOICE_URL": voice_url,
                "BARNABEE_LOG_FILE": str(directory / "api.jsonl"),
            },
        ).start()
        await process.wait_until_unhealthy()
        yield process
        process.kill()


@asynccontextmanager
async def log_in(api: ApiProcess, token: str = TOKEN) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client with the cookie of a logged-in browser."""
    async with api.client(headers=SAME_ORIGIN) as client:
        response = await client.post("/api/login", json={"token": token})
        assert response.status_code == 204, response.text
        yield client
