"""A command's event stream: sentences at once, the result at the end, a client that leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from barnabee.api.routes.commands import MEDIA_TYPE, CommandStream, router
from barnabee.clients.api import read_events
from barnabee.core.errors import DatabaseFull, DependencyDown, InvalidUtterance
from barnabee.core.http import add_error_handlers
from barnabee.understanding.interfaces import ScheduleEntry, SentenceSink
from support.asgi_server import serve_app
from support.home import FakeHome
from support.schedule import FakeSchedule

NAMES = ["Hall light", "ceiling", "pasta", "Kitchen", "Hall", "Kitchen light", "Mum", "Shopping"]
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


async def read_names(services: object, room: str) -> list[str]:
    """Return what `GET /v1/names` answers with these services of the command handler."""
    app = FastAPI()
    app.include_router(router)
    app.state.service = SimpleNamespace(command_handler=SimpleNamespace(services=services))
    async with serve_app(app) as url, httpx.AsyncClient(base_url=url) as http:
        response = await http.get("/v1/names", params={"room": room})
    names: list[str] = response.json()["names"]
    return names


async def test_names_of_the_room_come_first_and_sensors_last() -> None:
    home, schedule = FakeHome(), FakeSchedule()
    home.add("sensor.kitchen", "Kitchen light", "on", area="kitchen")  # the same name, once
    home.add("light.hall", "Hall light", area="hall", aliases=("ceiling",))
    home.add("light.kitchen", "kitchen light", area="kitchen")
    home.add("person.mum", "Mum")
    home.add("todo.shopping", "Shopping")
    due = datetime(2026, 11, 28, 18, tzinfo=UTC)
    await schedule.save(ScheduleEntry("t", "timer", due, label="pasta"))
    services = SimpleNamespace(home=home, schedule=schedule)
    found = await read_names(services, "hall")
    assert [name.casefold() for name in found] == [name.casefold() for name in NAMES]
    assert (await read_names(services, "kitchen"))[0].casefold() == "kitchen light"


async def test_names_without_home_assistant_are_those_of_the_timers() -> None:
    home = FakeHome()
    home.error = DependencyDown(dependency="Home Assistant", reason="it is away")
    assert await read_names(SimpleNamespace(home=home, schedule=None), "hall") == []
    assert await read_names(SimpleNamespace(home=None, schedule=None), "hall") == []
