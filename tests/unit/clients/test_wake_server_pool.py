"""Wake-word connections over several servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from barnabee.clients.load_balancer import (
    FIRST_BACKOFF_S,
    MAX_BACKOFF_S,
    ServerAssignment,
    WakeServerPool,
)
from barnabee.clients.wake import WakeClient
from support.asgi_server import serve_app
from support.clock import FakeClock
from support.fake_engines import FakeWakeWordEngine
from support.gpu_app import TOKEN, ServiceStarter
from support.wait import find_free_port, wait_until


@pytest.fixture
async def start() -> AsyncIterator[ServiceStarter]:
    async with AsyncExitStack() as stack:
        yield ServiceStarter(stack)


def short_delay(_failures: int) -> float:
    return 0.02


def count_connections(servers: WakeServerPool) -> list[int]:
    return [state.outstanding for state in servers._balancer.states]


def begin(servers: WakeServerPool, *tried: int) -> ServerAssignment:
    assignment = servers.begin(tried)
    assert assignment is not None
    return assignment


def test_rooms_are_spread_over_the_servers() -> None:
    servers = WakeServerPool(["http://a", "http://b"])
    assignments = [begin(servers) for _ in range(4)]
    assert count_connections(servers) == [2, 2]
    servers.end(assignments[0], failed=False)
    assert begin(servers).server == assignments[0].server


def test_failed_server_is_paused_and_then_tried_with_one_connection() -> None:
    clock = FakeClock(0)
    servers = WakeServerPool(["http://a", "http://b"], clock=clock)
    first = begin(servers)
    servers.end(first, failed=True)
    other = begin(servers, first.server)
    assert other.server != first.server
    assert begin(servers).server == other.server
    clock.now_s = FIRST_BACKOFF_S + 0.1
    trial = begin(servers)
    assert trial.server == first.server
    assert begin(servers).server == other.server
    servers.record_connected(trial)
    assert begin(servers).server == first.server


@given(st.lists(st.tuples(st.sampled_from(["begin", "link", "end", "lose"]), st.floats(0, 40))))
def test_any_history_leaves_a_server_and_counts_connections(
    history: list[tuple[str, float]],
) -> None:
    clock = FakeClock(0)
    servers = WakeServerPool(["http://a", "http://b", "http://c"], clock=clock)
    open_: list[ServerAssignment] = []
    for action, later_s in history:
        clock.now_s += later_s
        if action == "begin":
            open_.append(begin(servers))
        elif open_ and action == "link":
            servers.record_connected(open_[-1])
        elif open_:
            servers.end(open_.pop(0), failed=action == "lose")
        assert sum(count_connections(servers)) == len(open_)
    for assignment in open_:
        servers.end(assignment, failed=False)
    clock.now_s += MAX_BACKOFF_S
    assert {begin(servers).server for _ in range(3)} == {0, 1, 2}  # every server is tried again
    assert servers.begin({0, 1, 2}) is None


async def test_room_moves_to_the_other_server_when_its_server_stops(start: ServiceStarter) -> None:
    one, two = FakeWakeWordEngine(), FakeWakeWordEngine()
    services = [await start(wake=lambda: one), await start(wake=lambda: two)]
    async with AsyncExitStack() as second:
        second_url = await second.enter_async_context(
            serve_app(services[1].running.app, lifespan="off")
        )
        async with AsyncExitStack() as first:
            first_url = await first.enter_async_context(
                serve_app(services[0].running.app, lifespan="off")
            )
            servers = WakeServerPool([first_url, second_url])
            rooms = [
                await second.enter_async_context(WakeClient(servers, TOKEN, room=name))
                for name in ("kitchen", "attic")
            ]
            for engine in (one, two):
                await wait_until(
                    lambda engine=engine: bool(engine.frame_count) or send_silence(rooms)
                )  # type: ignore[misc]
            assert count_connections(servers) == [1, 1]
        await wait_until(lambda: count_connections(servers) == [0, 2])
        for room in rooms:
            room.send_audio(two.make_frame("hey_jarvis").tobytes())
            assert (await anext(room)).word == "hey_jarvis"


def send_silence(rooms: list[WakeClient]) -> bool:
    for room in rooms:
        room.send_audio(bytes(2560))
    return False


@pytest.mark.parametrize("other_work", [True, False], ids=["other work", "unreachable"])
async def test_server_without_wake_words_is_skipped(
    start: ServiceStarter, other_work: bool
) -> None:
    engine = FakeWakeWordEngine()
    service = await start(wake=lambda: engine)
    async with (
        serve_app(Starlette()) as other,
        serve_app(service.running.app, lifespan="off") as url,
    ):
        unsuitable = other if other_work else f"http://127.0.0.1:{find_free_port()}"
        waits: list[int] = []

        def wait(failures: int) -> float:
            waits.append(failures)
            return 0.02

        async with WakeClient(WakeServerPool([unsuitable, url]), TOKEN, pause_s=wait) as client:
            client.send_audio(engine.make_frame("hey_jarvis").tobytes())
            assert (await anext(client)).word == "hey_jarvis"
        assert not waits


async def test_all_servers_are_retried_when_all_are_down(start: ServiceStarter) -> None:
    engine, ports = FakeWakeWordEngine(), [find_free_port(), find_free_port()]
    service = await start(wake=lambda: engine)
    servers = WakeServerPool([f"http://127.0.0.1:{port}" for port in ports])
    async with WakeClient(servers, TOKEN, pause_s=short_delay) as client:
        for port in ports:
            async with serve_app(service.running.app, port, lifespan="off"):
                client.send_audio(engine.make_frame("hey_jarvis").tobytes())
                assert (await anext(client)).word == "hey_jarvis"
    assert count_connections(servers) == [0, 0]
