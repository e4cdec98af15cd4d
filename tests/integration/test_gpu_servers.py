"""Client of several inference servers, with real HTTP, processes and kills."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import numpy as np
import pytest
from starlette.responses import JSONResponse, Response

from barnabee.clients.gpu import GpuClient, ModelNames
from barnabee.core.errors import BadInput, DependencyDown, Overloaded, TimedOut
from support.asgi_server import serve_app
from support.clock import FakeClock
from support.inference import CHUNKS, FakeInferenceServer, InferenceProcess
from support.wait import eventually, find_free_port, wait_until

UNREACHABLE = "http://127.0.0.1:1"


@asynccontextmanager
async def open_client(
    *servers: FakeInferenceServer | str, ports: dict[int, int] | None = None, **options: Any
) -> AsyncIterator[GpuClient]:
    async with AsyncExitStack() as stack:
        urls = [
            one
            if isinstance(one, str)
            else await stack.enter_async_context(serve_app(one.app(), (ports or {}).get(number, 0)))
            for number, one in enumerate(servers)
        ]
        client = GpuClient(urls, "token", **options)
        stack.push_async_callback(client.aclose)
        yield client


def make_refusal(
    status: int, *, times: int | None = None, headers: dict[str, str] | None = None
) -> Callable[[str], Response | None]:
    """Return a handler that refuses `times` requests (default: all) except health checks."""
    left = [times]

    def refuse(path: str) -> Response | None:
        if path == "/health/ready" or left[0] == 0:
            return None
        left[0] = None if left[0] is None else left[0] - 1
        return JSONResponse({"code": "internal", "message": "Broken."}, status, headers)

    return refuse


# ---- a server fails ----


@pytest.mark.parametrize("bad", ["unreachable", "status 500", "status 401", "invalid body"])
async def test_a_failed_request_is_answered_by_another_server(bad: str) -> None:
    healthy = FakeInferenceServer()
    broken: FakeInferenceServer | str = UNREACHABLE
    if bad != "unreachable":
        broken = FakeInferenceServer()
        broken.refuse = make_refusal(int(bad.split()[1]) if bad != "invalid body" else 200)
    async with open_client(broken, healthy, clock=FakeClock()) as client:
        for _ in range(4):
            assert (await client.embed(["one", "three"])).shape == (2, 384)
            assert (await client.transcribe(b"RIFF")).text == "what time is it"
            assert len(b"".join([part async for part in client.speak("hi")])) == 4800 * CHUNKS
    assert len(healthy.requests) == 12
    if isinstance(broken, FakeInferenceServer):
        assert len(broken.requests) == 1, "it gets no requests after its first failure"


async def test_a_request_is_retried_once_unless_connections_are_refused() -> None:
    servers = [FakeInferenceServer(refuse=make_refusal(500)) for _ in range(3)]
    async with open_client(*servers) as client:
        with pytest.raises(DependencyDown, match="Broken"):
            await client.embed(["a"])
    assert sorted(len(one.requests) for one in servers) == [0, 1, 1]
    async with open_client(
        UNREACHABLE, f"http://127.0.0.1:{find_free_port()}", FakeInferenceServer()
    ) as client:
        assert (await client.embed(["a"])).shape == (1, 384)


async def test_a_bad_request_is_not_retried() -> None:
    first, second = (FakeInferenceServer(refuse=make_refusal(400)) for _ in range(2))
    async with open_client(first, second) as client:
        with pytest.raises(BadInput, match="Broken"):
            await client.embed(["a"])
    assert len(first.requests) + len(second.requests) == 1


async def test_a_busy_server_gets_no_requests_during_its_retry_after() -> None:
    clock, healthy = FakeClock(), FakeInferenceServer()
    busy = FakeInferenceServer(refuse=make_refusal(429, times=1, headers={"Retry-After": "5"}))
    async with open_client(busy, healthy, clock=clock) as client:
        for _ in range(4):
            await client.embed(["a"])
        assert (busy.count(), healthy.count()) == (1, 4)
        clock.now_s += 5
        for _ in range(4):
            await client.embed(["a"])
        assert busy.count() > 1


async def test_if_all_are_busy_the_error_has_a_retry_after() -> None:
    busy = [
        FakeInferenceServer(refuse=make_refusal(503, headers={"Retry-After": "3"}))
        for _ in range(2)
    ]
    async with open_client(*busy) as client:
        with pytest.raises(DependencyDown) as refused:
            await client.embed(["a"])
    assert refused.value.retry_after_s == 3
    async with open_client(FakeInferenceServer(refuse=make_refusal(429))) as client:
        with pytest.raises(Overloaded) as overloaded:
            await client.embed(["a"])
    assert overloaded.value.retry_after_s == 1


async def test_if_all_are_paused_one_gets_the_request() -> None:
    servers = [FakeInferenceServer(refuse=make_refusal(500, times=1)) for _ in range(2)]
    async with open_client(*servers, clock=FakeClock()) as client:
        with pytest.raises(DependencyDown):
            await client.embed(["a"])
        assert (await client.embed(["a"])).shape == (1, 384)


async def test_a_started_stream_is_not_restarted() -> None:
    dies, healthy = await InferenceProcess(pause_s=60).start(), FakeInferenceServer()
    try:
        async with open_client(dies.url, healthy) as client:
            async with aclosing(client.speak("hello")) as audio:
                assert len(await anext(audio)) > 0
                dies.stop()
                with pytest.raises(DependencyDown):
                    await anext(audio)
            assert healthy.requests == []
            assert len([part async for part in client.speak("hello")]) > 0
            assert healthy.count("/v1/audio/speech") == 1
    finally:
        dies.stop()


async def test_a_hanging_server_is_paused_also_when_callers_cancel() -> None:
    clock = FakeClock()
    hanging, healthy = FakeInferenceServer(delay_s=60), FakeInferenceServer()
    async with open_client(hanging, healthy, clock=clock) as client:

        async def embed_or_cancel() -> bool:
            request = asyncio.create_task(client.embed(["a"]))
            await wait_until(lambda: request.done() or hanging.count() + healthy.count() > done[0])
            if not request.done():
                clock.now_s += 1.0
                request.cancel()
                await asyncio.gather(request, return_exceptions=True)
            return not request.cancelled()

        done = [0]
        assert not await embed_or_cancel()
        for _ in range(3):
            done[0] = hanging.count() + healthy.count()
            await client.embed(["a"])
    assert (hanging.count(), healthy.count()) == (1, 3)


async def test_a_request_that_timed_out_is_answered_by_another_server() -> None:
    hanging, healthy = FakeInferenceServer(delay_s=60), FakeInferenceServer()
    async with open_client(hanging, healthy, timeout_s=2) as client:
        assert (await client.embed(["a"])).shape == (1, 384)
    async with open_client(FakeInferenceServer(delay_s=60), timeout_s=0.3) as client:
        with pytest.raises(TimedOut, match="300 ms"):
            await client.embed(["a"])


# ---- health ----


async def test_health_covers_all_servers_and_names_unhealthy_ones() -> None:
    async with open_client(FakeInferenceServer(), FakeInferenceServer(ours=False)) as client:
        assert await client.ready() is None
    async with open_client(FakeInferenceServer(), UNREACHABLE) as client:
        degraded = await client.ready()
        assert degraded is not None
        assert degraded.code == "gpu_degraded"
        assert UNREACHABLE in degraded.message
    async with open_client(UNREACHABLE, "http://127.0.0.1:2") as client:
        with pytest.raises(DependencyDown, match=r"127.0.0.1:1.*127.0.0.1:2"):
            await client.ready()


async def test_a_health_check_pauses_unhealthy_servers() -> None:
    healthy = FakeInferenceServer()
    loading = FakeInferenceServer()
    report = {"status": "unhealthy", "dependencies": {"stt": {"status": "x", "message": "loads"}}}
    loading.refuse = lambda path: JSONResponse(report, 503) if "health" in path else None
    async with open_client(loading, healthy) as client:
        degraded = await client.ready()
        assert degraded is not None
        assert "loads" in degraded.message
        for _ in range(3):
            await client.embed(["a"])
    assert loading.requests == []


async def test_a_foreign_server_is_healthy_when_it_lists_its_models() -> None:
    foreign = FakeInferenceServer(ours=False)
    async with open_client(foreign) as client:
        assert await client.ready() is None
        foreign.refuse = make_refusal(401)
        with pytest.raises(DependencyDown, match="/v1/models answers status 401"):
            await client.ready()


# ---- servers of other projects ----


async def test_a_server_with_openais_api_transcribes_synthesizes_and_embeds() -> None:
    foreign = FakeInferenceServer(
        ours=False, models=("Systran/base", "kokoro-82m", "all-MiniLM-L6-v2")
    )
    names = ModelNames("Systran/base", "kokoro-82m", "all-MiniLM-L6-v2", "af_heart")
    async with open_client(foreign, names=names) as client:
        rows = await client.embed(["one", "three"])
        np.testing.assert_array_equal(np.linalg.norm(rows, axis=1), [1, 1])
        assert rows[0, 3] == rows[1, 5] == 1
        result = await client.transcribe(b"RIFF")
        assert (result.text, result.engine) == ("what time is it", "unknown")
        async with client.turn("kitchen"):
            audio = [part async for part in client.speak("hi", format="pcm")]
        assert len(b"".join(audio)) == 4800 * CHUNKS
        assert foreign.bodies[-1]["voice"] == "af_heart"
    async with open_client(foreign) as client:
        with pytest.raises(DependencyDown, match="whisper-1 does not exist"):
            await client.transcribe(b"RIFF")


async def test_servers_with_one_capability_each_are_combined() -> None:
    clock = FakeClock()
    kinds = ("/v1/embeddings", "/v1/audio/transcriptions", "/v1/audio/speech")
    servers = [FakeInferenceServer(ours=False) for _ in kinds]
    for server, kind in zip(servers, kinds, strict=True):
        server.refuse = accept_only(kind)
    async with open_client(*servers, clock=clock, names=ModelNames(voice="v")) as client:
        for _ in range(3):
            async with client.turn("kitchen"):
                assert (await client.transcribe(b"RIFF")).text == "what time is it"
                assert (await client.embed(["a"])).shape == (1, 384)
                assert [part async for part in client.speak("hi")]
        assert await client.ready() is None
        for server, kind in zip(servers, kinds, strict=True):
            assert server.count(kind) == 3
            assert len(server.requests) <= 5, (
                "each got at most one request of a kind it does not support"
            )
        servers[1].refuse = lambda _path: None
        clock.now_s += 61  # it may support more now
        for _ in range(6):
            await client.embed(["a"])
        assert servers[1].count("/v1/embeddings") > 1


async def test_vectors_of_different_widths_are_never_mixed() -> None:
    narrow = FakeInferenceServer(width=100)
    async with open_client(FakeInferenceServer(), narrow, clock=FakeClock()) as client:
        for _ in range(4):
            assert (await client.embed(["a"])).shape == (1, 384)
    assert narrow.count() == 1


def accept_only(kind: str) -> Callable[[str], Response | None]:
    return lambda path: (
        None if path in {kind, "/v1/models"} else JSONResponse({"detail": "Not Found"}, 404)
    )


# ---- turns ----


async def test_a_turn_is_begun_sent_in_every_request_and_ended() -> None:
    server = FakeInferenceServer()
    async with open_client(server) as client:
        async with client.turn("kitchen"):
            await client.transcribe(b"RIFF")
            await client.embed(["a"])
            [_ async for _ in client.speak("hi")]
            await wait_until(lambda: server.turns == {"t0": "kitchen"})
        await client.embed(["after"])
        await wait_until(lambda: not server.turns)
    assert [session for _, session in server.requests] == ["kitchen"] * 3 + [""]
    assert server.begun == ["kitchen"]


async def test_concurrent_turns_do_not_mix() -> None:
    server = FakeInferenceServer(delay_s=0.01)
    async with open_client(server) as client:

        async def turn(room: str) -> None:
            async with client.turn(room):
                for _ in range(3):
                    await client.embed([room])

        await asyncio.gather(*(turn(room) for room in ("hall", "bath", "attic")))
    assert all(
        body["input"] == [session]
        for body, (_, session) in zip(server.bodies, server.requests, strict=True)
    )
    assert sorted(server.begun) == ["attic", "bath", "hall"]
    assert server.turns == {}


async def test_a_turn_stays_on_one_server_and_moves_when_it_dies() -> None:
    first, second = FakeInferenceServer(), FakeInferenceServer()
    async with open_client(first, second) as client:
        async with client.turn("hall"):
            for _ in range(6):
                await client.embed(["a"])
            assert sorted((first.count(), second.count())) == [0, 6]
            died, other = (first, second) if first.count() else (second, first)
            await wait_until(lambda: died.begun == ["hall"])
            died.refuse = make_refusal(500)
            for _ in range(6):
                await client.embed(["a"])
            assert (died.count(), other.count()) == (7, 6)
            await wait_until(lambda: other.begun == ["hall"])
        await wait_until(lambda: not other.turns)


@pytest.mark.parametrize("bad", ["refused", "no id", "absent", "hangs"])
async def test_requests_work_without_a_turn(bad: str) -> None:
    server = FakeInferenceServer(ours=bad != "absent")
    answer = {"refused": Response(status_code=500), "no id": JSONResponse([1])}.get(bad)
    server.refuse = lambda path: answer if path == "/v1/turns" else None
    if bad == "hangs":

        async def hang(_request: object) -> Response:
            await asyncio.Event().wait()
            return Response()

        server._begin = hang  # type: ignore[method-assign]
    async with open_client(server) as client, asyncio.timeout(120), client.turn("kitchen \u00fc\n"):
        assert (await client.embed(["a"])).shape == (1, 384)
    assert server.requests == [("/v1/embeddings", "kitchen%20%C3%BC%0A")]


async def test_a_server_without_turns_gets_one_turn_request() -> None:
    server = FakeInferenceServer()
    turn_requests = []
    server.refuse = lambda path: (
        (turn_requests.append(path), Response(status_code=404))[1] if path == "/v1/turns" else None
    )
    async with open_client(server) as client:
        for _ in range(3):
            async with client.turn("kitchen"):
                await wait_until(lambda: bool(turn_requests))
                await client.embed(["a"])
    assert turn_requests == ["/v1/turns"]


# ---- under load ----


async def test_a_kill_under_load_loses_no_request_and_load_returns() -> None:
    first, second = [await InferenceProcess(delay_s=0.005).start() for _ in range(2)]
    client = GpuClient([first.url, second.url], "token", timeout_s=10)
    stop, answered, failures = asyncio.Event(), [0], list[Exception]()

    async def caller() -> None:
        while not stop.is_set():
            try:
                await client.embed(["a"])
                answered[0] += 1
            except (DependencyDown, TimedOut) as error:
                failures.append(error)

    callers = [asyncio.create_task(caller()) for _ in range(8)]
    try:
        await wait_until(lambda: answered[0] > 100)
        assert await first.count() > 20
        assert await second.count() > 20
        first.stop()
        before = answered[0]
        await wait_until(lambda: answered[0] > before + 200)
        await first.start()

        async def has_load() -> bool:
            return await first.count() > 50

        await eventually(has_load)
    finally:
        stop.set()
        await asyncio.gather(*callers)
        await client.aclose()
        first.stop()
        second.stop()
    assert failures == []


async def test_the_faster_of_two_servers_gets_more_requests() -> None:
    slow, fast = FakeInferenceServer(delay_s=0.3), FakeInferenceServer(delay_s=0.02)
    async with open_client(slow, fast) as client:

        async def caller() -> None:
            for _ in range(15):
                await client.embed(["a"])

        await asyncio.gather(*(caller() for _ in range(6)))
    assert fast.count() > 2 * slow.count()
    assert slow.count() > 0


async def test_a_suspended_process_gets_no_requests_until_it_resumes() -> None:
    first, second = [await InferenceProcess().start() for _ in range(2)]
    client = GpuClient([first.url, second.url], "token", timeout_s=5)
    try:
        first.stop(signal.SIGSTOP)
        for _ in range(20):
            assert (await client.embed(["a"])).shape == (1, 384)
        assert await second.count() == 20
        first.stop(signal.SIGCONT)
        before = await first.count()

        async def has_load() -> bool:
            await client.embed(["a"])
            return await first.count() > before + 3

        await eventually(has_load)
    finally:
        await client.aclose()
        first.stop()
        second.stop()
