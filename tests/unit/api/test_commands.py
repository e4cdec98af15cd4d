"""A command's event stream: sentences at once, the result at the end, a client that leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from barnabee.api.routes.commands import MEDIA_TYPE, CommandStream
from barnabee.clients.api import read_events
from barnabee.core.errors import DatabaseFull, InvalidUtterance
from barnabee.core.http import add_error_handlers
from barnabee.understanding.interfaces import SentenceSink
from support.asgi_server import serve_app

Run = Callable[[SentenceSink], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def post(run: Run) -> AsyncIterator[httpx.Response]:
    async def answer(_request: Request) -> Response:
        return CommandStream(run)

    app = Starlette(routes=[Route("/", answer, methods=["POST"])])
    add_error_handlers(app)
    async with (
        serve_app(app) as url,
        httpx.AsyncClient(timeout=60) as http,
        http.stream("POST", url, content=b"{}") as response,
    ):
        yield response


async def test_a_sentence_arrives_before_the_result() -> None:
    go_on = asyncio.Event()

    async def run(emit: SentenceSink) -> dict[str, Any]:
        await emit("One.")
        await go_on.wait()
        await emit("Two.")
        return {"reply": "One. Two."}

    async with post(run) as response:
        assert response.headers["content-type"].startswith(MEDIA_TYPE)
        events = read_events(response)
        assert await anext(events) == ("sentence", '{"text":"One."}')
        go_on.set()
        rest = [(name, json.loads(data)) async for name, data in events]
    assert rest == [("sentence", {"text": "Two."}), ("result", {"reply": "One. Two."})]


async def test_an_early_error_has_its_status() -> None:
    async def run(_emit: SentenceSink) -> dict[str, Any]:
        raise InvalidUtterance(reason="is empty")

    async with post(run) as response:
        await response.aread()
    assert (response.status_code, response.json()["code"]) == (400, "invalid_utterance")


async def test_a_later_error_is_an_event() -> None:
    async def run(emit: SentenceSink) -> dict[str, Any]:
        await emit("One.")
        raise DatabaseFull(path="/data")

    async with post(run) as response:
        events = [(name, json.loads(data)) async for name, data in read_events(response)]
    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "database_full"


@pytest.mark.parametrize("says_first", [True, False])
async def test_a_client_that_leaves_is_noticed_and_the_command_completes(
    *, says_first: bool
) -> None:
    begun, left, completed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(emit: SentenceSink) -> dict[str, Any]:
        if says_first:
            await emit("One.")
        begun.set()
        await emit.wait_closed()
        left.set()
        await emit("Nobody hears this.")
        completed.set()
        return {"reply": ""}

    async def answer(_request: Request) -> Response:
        return CommandStream(run)

    app = Starlette(routes=[Route("/", answer, methods=["POST"])])
    async with serve_app(app) as url, asyncio.timeout(60):
        async with httpx.AsyncClient(timeout=60) as http:
            posting = asyncio.create_task(http.post(url))
            await begun.wait()
            posting.cancel()
            await asyncio.gather(posting, return_exceptions=True)
        await left.wait()
        await completed.wait()
