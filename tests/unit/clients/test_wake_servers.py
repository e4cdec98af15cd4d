"""Wake words with several servers behind GPU_SERVICE_URLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from barnabee.clients.balance import FIRST_S, MOST_S, Ticket
from barnabee.clients.wake import WakeClient
from barnabee.clients.wake_servers import WakeServers
from barnabee.testing.engines import FakeWakeWords
from support.gpu_app import TOKEN, Starter
from support.serve import served
from support.wait import free_port, until


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    async with AsyncExitStack() as stack:
        yield Starter(stack)


class Clock:
    """A clock that the test turns."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def at_once(_failures: int) -> float:
    return 0.02


def begun(servers: WakeServers, *tried: int) -> Ticket:
    ticket = servers.begin(tried)
    assert ticket is not None
    return ticket


def test_rooms_are_spread_and_one_that_leaves_makes_room() -> None:
    servers = WakeServers(["http://a", "http://b"])
    tickets = [begun(servers) for _ in range(4)]
    assert servers.links() == [2, 2]
    servers.end(tickets[0], failed=False)
    assert begun(servers).server == tickets[0].server


def test_a_server_that_failed_is_left_alone_and_then_tried_with_one_link() -> None:
    clock = Clock()
    servers = WakeServers(["http://a", "http://b"], clock=clock)
    first = begun(servers)
    servers.end(first, failed=True)
    other = begun(servers, first.server)
    assert other.server != first.server
    assert begun(servers).server == other.server
    clock.now_s = FIRST_S + 0.1
    trial = begun(servers)
    assert trial.server == first.server
    assert begun(servers).server == other.server
    servers.linked(trial)
    assert begun(servers).server == first.server


@given(st.lists(st.tuples(st.sampled_from(["begin", "link", "end", "lose"]), st.floats(0, 40))))
def test_there_is_always_somebody_to_ask_and_links_are_counted_right(
    taken: list[tuple[str, float]],
) -> None:
    clock = Clock()
    servers = WakeServers(["http://a", "http://b", "http://c"], clock=clock)
    open_: list[Ticket] = []
    for what, later_s in taken:
        clock.now_s += later_s
        if what == "begin":
            open_.append(begun(servers))
        elif open_ and what == "link":
            servers.linked(open_[-1])
        elif open_:
            servers.end(open_.pop(0), failed=what == "lose")
        assert sum(servers.links()) == len(open_)
    for ticket in open_:
        servers.end(ticket, failed=False)
    clock.now_s += MOST_S
    assert {begun(servers).server for _ in range(3)} == {0, 1, 2}  # none is left out for ever
    assert servers.begin({0, 1, 2}) is None


async def test_when_its_server_is_gone_a_room_is_heard_by_the_other_one(start: Starter) -> None:
    one, two = FakeWakeWords(), FakeWakeWords()
    services = [await start(wake=lambda: one), await start(wake=lambda: two)]
    async with AsyncExitStack() as second:
        second_url = await second.enter_async_context(
            served(services[1].running.app, lifespan="off")
        )
        async with AsyncExitStack() as first:
            first_url = await first.enter_async_context(
                served(services[0].running.app, lifespan="off")
            )
            servers = WakeServers([first_url, second_url])
            rooms = [
                await second.enter_async_context(WakeClient(servers, TOKEN, room=name))
                for name in ("kitchen", "attic")
            ]
            for engine in (one, two):
                await until(lambda engine=engine: bool(engine.frames) or speak(rooms))  # type: ignore[misc]
            assert servers.links() == [1, 1]
        await until(lambda: servers.links() == [0, 2])
        for room in rooms:
            room.hear(two.saying("hey_jarvis").tobytes())
            assert (await anext(room)).word == "hey_jarvis"


def speak(rooms: list[WakeClient]) -> bool:
    for room in rooms:
        room.hear(bytes(2560))
    return False


@pytest.mark.parametrize("other_work", [True, False], ids=["other work", "nobody there"])
async def test_a_server_without_wake_words_is_passed_over(start: Starter, other_work: bool) -> None:
    engine = FakeWakeWords()
    service = await start(wake=lambda: engine)
    async with (
        served(Starlette()) as other,
        served(service.running.app, lifespan="off") as url,
    ):
        deaf = other if other_work else f"http://127.0.0.1:{free_port()}"
        waits: list[int] = []

        def wait(failures: int) -> float:
            waits.append(failures)
            return 0.02

        async with WakeClient(WakeServers([deaf, url]), TOKEN, pause_s=wait) as ear:
            ear.hear(engine.saying("hey_jarvis").tobytes())
            assert (await anext(ear)).word == "hey_jarvis"
        assert not waits


async def test_when_all_are_gone_they_are_all_tried_again(start: Starter) -> None:
    engine, ports = FakeWakeWords(), [free_port(), free_port()]
    service = await start(wake=lambda: engine)
    servers = WakeServers([f"http://127.0.0.1:{port}" for port in ports])
    async with WakeClient(servers, TOKEN, pause_s=at_once) as ear:
        for port in ports:
            async with served(service.running.app, port, lifespan="off"):
                ear.hear(engine.saying("hey_jarvis").tobytes())
                assert (await anext(ear)).word == "hey_jarvis"
    assert servers.links() == [0, 0]
