"""Several inference servers behind one client: real HTTP, real processes, real kill -9."""

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
from support.inference import CHUNKS, FakeInferenceServer, InferenceProcess
from support.wait import eventually, free_port, until

LOST = "http://127.0.0.1:1"


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def client_of(
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


def refusing(
    status: int, *, times: int | None = None, headers: dict[str, str] | None = None
) -> Callable[[str], Response | None]:
    """Return what refuses so many requests that are not about health."""
    left = [times]

    def refuse(path: str) -> Response | None:
        if path == "/health/ready" or left[0] == 0:
            return None
        left[0] = None if left[0] is None else left[0] - 1
        return JSONResponse({"code": "internal", "message": "Broken."}, status, headers)

    return refuse


# ---- a server fails ----


@pytest.mark.parametrize("bad", ["refuses", "answers 500", "answers 401", "answers nonsense"])
async def test_a_request_that_fails_is_answered_by_another_server(bad: str) -> None:
    well = FakeInferenceServer()
    broken: FakeInferenceServer | str = LOST
    if bad != "refuses":
        broken = FakeInferenceServer()
        broken.refuse = refusing(int(bad.split()[1]) if bad != "answers nonsense" else 200)
    async with client_of(broken, well, clock=Clock()) as client:
        for _ in range(4):
            assert (await client.embed(["one", "three"])).shape == (2, 384)
            assert (await client.transcribe(b"RIFF")).text == "what time is it"
            assert len(b"".join([part async for part in client.speak("hi")])) == 4800 * CHUNKS
    assert len(well.asked) == 12
    if isinstance(broken, FakeInferenceServer):
        assert len(broken.asked) == 1, "it was set aside after its first failure"


async def test_a_request_is_tried_on_one_other_server_and_on_every_one_that_refuses() -> None:
    servers = [FakeInferenceServer(refuse=refusing(500)) for _ in range(3)]
    async with client_of(*servers) as client:
        with pytest.raises(DependencyDown, match="Broken"):
            await client.embed(["a"])
    assert sorted(len(one.asked) for one in servers) == [0, 1, 1]
    async with client_of(LOST, f"http://127.0.0.1:{free_port()}", FakeInferenceServer()) as client:
        assert (await client.embed(["a"])).shape == (1, 384)


async def test_what_the_caller_did_wrong_is_not_tried_elsewhere() -> None:
    first, second = (FakeInferenceServer(refuse=refusing(400)) for _ in range(2))
    async with client_of(first, second) as client:
        with pytest.raises(BadInput, match="Broken"):
            await client.embed(["a"])
    assert len(first.asked) + len(second.asked) == 1


async def test_a_server_that_is_busy_is_left_alone_for_as_long_as_it_asks() -> None:
    clock, well = Clock(), FakeInferenceServer()
    busy = FakeInferenceServer(refuse=refusing(429, times=1, headers={"Retry-After": "5"}))
    async with client_of(busy, well, clock=clock) as client:
        for _ in range(4):
            await client.embed(["a"])
        assert (busy.count(), well.count()) == (1, 4)
        clock.now_s += 5
        for _ in range(4):
            await client.embed(["a"])
        assert busy.count() > 1


async def test_when_all_are_busy_the_caller_is_told_when_to_come_again() -> None:
    busy = [FakeInferenceServer(refuse=refusing(503, headers={"Retry-After": "3"})) for _ in range(2)]
    async with client_of(*busy) as client:
        with pytest.raises(DependencyDown) as refused:
            await client.embed(["a"])
    assert refused.value.retry_after_s == 3
    async with client_of(FakeInferenceServer(refuse=refusing(429))) as client:
        with pytest.raises(Overloaded) as overloaded:
            await client.embed(["a"])
    assert overloaded.value.retry_after_s == 1


async def test_when_all_are_aside_one_is_asked_all_the_same() -> None:
    servers = [FakeInferenceServer(refuse=refusing(500, times=1)) for _ in range(2)]
    async with client_of(*servers, clock=Clock()) as client:
        with pytest.raises(DependencyDown):
            await client.embed(["a"])
        assert (await client.embed(["a"])).shape == (1, 384)


async def test_a_stream_that_has_begun_is_never_begun_anew() -> None:
    dies, well = await InferenceProcess(pause_s=60).start(), FakeInferenceServer()
    try:
        async with client_of(dies.url, well) as client:
            async with aclosing(client.speak("hello")) as sound:
                assert len(await anext(sound)) > 0
                dies.stop()
                with pytest.raises(DependencyDown):
                    await anext(sound)
            assert well.asked == []
            assert len([part async for part in client.speak("hello")]) > 0
            assert well.count("/v1/audio/speech") == 1
    finally:
        dies.stop()


async def test_a_server_that_hangs_is_set_aside_also_by_callers_who_do_not_wait() -> None:
    clock = Clock()
    hanging, well = FakeInferenceServer(delay_s=60), FakeInferenceServer()
    async with client_of(hanging, well, clock=clock) as client:

        async def impatient() -> bool:
            asked = asyncio.create_task(client.embed(["a"]))
            await until(lambda: asked.done() or hanging.count() + well.count() > done[0])
            if not asked.done():
                clock.now_s += 1.0
                asked.cancel()
                await asyncio.gather(asked, return_exceptions=True)
            return not asked.cancelled()

        done = [0]
        assert not await impatient()
        for _ in range(3):
            done[0] = hanging.count() + well.count()
            await client.embed(["a"])
    assert (hanging.count(), well.count()) == (1, 3)


async def test_a_request_that_times_out_is_answered_by_another_server() -> None:
    hanging, well = FakeInferenceServer(delay_s=60), FakeInferenceServer()
    async with client_of(hanging, well, timeout_s=0.3) as client:
        assert (await client.embed(["a"])).shape == (1, 384)
    async with client_of(FakeInferenceServer(delay_s=60), timeout_s=0.3) as client:
        with pytest.raises(TimedOut, match="300 ms"):
            await client.embed(["a"])


# ---- health ----


async def test_health_is_that_of_all_and_names_who_is_not_well() -> None:
    async with client_of(FakeInferenceServer(), FakeInferenceServer(ours=False)) as client:
        assert await client.ready() is None
    async with client_of(FakeInferenceServer(), LOST) as client:
        degraded = await client.ready()
        assert degraded is not None
        assert degraded.code == "gpu_degraded"
        assert LOST in degraded.message
    async with client_of(LOST, "http://127.0.0.1:2") as client:
        with pytest.raises(DependencyDown, match=r"127.0.0.1:1.*127.0.0.1:2"):
            await client.ready()


async def test_a_look_at_health_keeps_requests_away_from_who_is_not_well() -> None:
    well = FakeInferenceServer()
    loading = FakeInferenceServer()
    report = {"status": "unhealthy", "dependencies": {"stt": {"status": "x", "message": "loads"}}}
    loading.refuse = lambda path: JSONResponse(report, 503) if "health" in path else None
    async with client_of(loading, well) as client:
        degraded = await client.ready()
        assert degraded is not None
        assert "loads" in degraded.message
        for _ in range(3):
            await client.embed(["a"])
    assert loading.asked == []


async def test_a_foreign_server_is_well_when_it_lists_its_models() -> None:
    foreign = FakeInferenceServer(ours=False)
    async with client_of(foreign) as client:
        assert await client.ready() is None
        foreign.refuse = refusing(401)
        with pytest.raises(DependencyDown, match="/v1/models answers status 401"):
            await client.ready()


# ---- servers of another make ----


async def test_a_server_that_speaks_openais_api_alone_hears_speaks_and_embeds() -> None:
    foreign = FakeInferenceServer(ours=False, models=("Systran/base", "kokoro-82m", "all-MiniLM-L6-v2"))
    names = ModelNames("Systran/base", "kokoro-82m", "all-MiniLM-L6-v2", "af_heart")
    async with client_of(foreign, names=names) as client:
        rows = await client.embed(["one", "three"])
        np.testing.assert_array_equal(np.linalg.norm(rows, axis=1), [1, 1])
        assert rows[0, 3] == rows[1, 5] == 1
        heard = await client.transcribe(b"RIFF")
        assert (heard.text, heard.engine) == ("what time is it", "unknown")
        async with client.turn("kitchen"):
            sound = [part async for part in client.speak("hi", format="pcm")]
        assert len(b"".join(sound)) == 4800 * CHUNKS
        assert foreign.bodies[-1]["voice"] == "af_heart"
    async with client_of(foreign) as client:
        with pytest.raises(DependencyDown, match="whisper-1 does not exist"):
            await client.transcribe(b"RIFF")


async def test_servers_that_do_one_kind_of_work_each_do_it_together() -> None:
    clock = Clock()
    kinds = ("/v1/embeddings", "/v1/audio/transcriptions", "/v1/audio/speech")
    servers = [FakeInferenceServer(ours=False) for _ in kinds]
    for server, kind in zip(servers, kinds, strict=True):
        server.refuse = only(kind)
    async with client_of(*servers, clock=clock, names=ModelNames(voice="v")) as client:
        for _ in range(3):
            async with client.turn("kitchen"):
                assert (await client.transcribe(b"RIFF")).text == "what time is it"
                assert (await client.embed(["a"])).shape == (1, 384)
                assert [part async for part in client.speak("hi")]
        assert await client.ready() is None
        for server, kind in zip(servers, kinds, strict=True):
            assert server.count(kind) == 3
            assert len(server.asked) <= 5, "each was asked at most once for what it does not do"
        servers[1].refuse = lambda _path: None
        clock.now_s += 61  # it may have learnt
        for _ in range(6):
            await client.embed(["a"])
        assert servers[1].count("/v1/embeddings") > 1


async def test_vectors_of_different_widths_are_never_mixed() -> None:
    narrow = FakeInferenceServer(width=100)
    async with client_of(FakeInferenceServer(), narrow, clock=Clock()) as client:
        for _ in range(4):
            assert (await client.embed(["a"])).shape == (1, 384)
    assert narrow.count() == 1


def only(kind: str) -> Callable[[str], Response | None]:
    return lambda path: (
        None if path in {kind, "/v1/models"} else JSONResponse({"detail": "Not Found"}, 404)
    )


# ---- turns ----


async def test_a_turn_is_begun_named_in_every_request_and_ended() -> None:
    server = FakeInferenceServer()
    async with client_of(server) as client:
        async with client.turn("kitchen"):
            await client.transcribe(b"RIFF")
            await client.embed(["a"])
            [_ async for _ in client.speak("hi")]
            await until(lambda: server.turns == {"t0": "kitchen"})
        await client.embed(["after"])
        await until(lambda: not server.turns)
    assert [session for _, session in server.asked] == ["kitchen"] * 3 + [""]
    assert server.begun == ["kitchen"]


async def test_turns_at_the_same_time_do_not_mix() -> None:
    server = FakeInferenceServer(delay_s=0.01)
    async with client_of(server) as client:

        async def turn(room: str) -> None:
            async with client.turn(room):
                for _ in range(3):
                    await client.embed([room])

        await asyncio.gather(*(turn(room) for room in ("hall", "bath", "attic")))
    assert all(
        body["input"] == [session]
        for body, (_, session) in zip(server.bodies, server.asked, strict=True)
    )
    assert sorted(server.begun) == ["attic", "bath", "hall"]
    assert server.turns == {}


async def test_a_turn_keeps_to_one_server_and_moves_when_that_one_dies() -> None:
    first, second = FakeInferenceServer(), FakeInferenceServer()
    async with client_of(first, second) as client:
        async with client.turn("hall"):
            for _ in range(6):
                await client.embed(["a"])
            assert sorted((first.count(), second.count())) == [0, 6]
            died, other = (first, second) if first.count() else (second, first)
            await until(lambda: died.begun == ["hall"])
            died.refuse = refusing(500)
            for _ in range(6):
                await client.embed(["a"])
            assert (died.count(), other.count()) == (7, 6)
            await until(lambda: other.begun == ["hall"])
        await until(lambda: not other.turns)


@pytest.mark.parametrize("bad", ["refused", "no id", "absent", "hangs"])
async def test_a_turn_that_cannot_be_had_is_done_without(bad: str) -> None:
    server = FakeInferenceServer(ours=bad != "absent")
    answer = {"refused": Response(status_code=500), "no id": JSONResponse([1])}.get(bad)
    server.refuse = lambda path: answer if path == "/v1/turns" else None
    if bad == "hangs":

        async def hang(_request: object) -> Response:
            await asyncio.sleep(60)
            return Response()

        server._begin = hang  # type: ignore[method-assign]
    async with client_of(server) as client, asyncio.timeout(5), client.turn("kitchen \u00fc\n"):
        assert (await client.embed(["a"])).shape == (1, 384)
    assert server.asked == [("/v1/embeddings", "kitchen%20%C3%BC%0A")]


async def test_a_server_without_turns_is_asked_for_one_once() -> None:
    server = FakeInferenceServer()
    asked = []
    server.refuse = lambda path: (
        (asked.append(path), Response(status_code=404))[1] if path == "/v1/turns" else None
    )
    async with client_of(server) as client:
        for _ in range(3):
            async with client.turn("kitchen"):
                await until(lambda: bool(asked))
                await client.embed(["a"])
    assert asked == ["/v1/turns"]


# ---- under load ----


async def test_one_of_two_killed_under_load_loses_no_request_and_comes_back() -> None:
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
        await until(lambda: answered[0] > 100)
        assert await first.count() > 20
        assert await second.count() > 20
        first.stop()
        before = answered[0]
        await until(lambda: answered[0] > before + 200)
        await first.start()

        async def has_load() -> bool:
            return await first.count() > 50

        await eventually(has_load, within_s=60)
    finally:
        stop.set()
        await asyncio.gather(*callers)
        await client.aclose()
        first.stop()
        second.stop()
    assert failures == []


async def test_the_faster_of_two_gets_more() -> None:
    slow, fast = FakeInferenceServer(delay_s=0.3), FakeInferenceServer(delay_s=0.02)
    async with client_of(slow, fast) as client:

        async def caller() -> None:
            for _ in range(15):
                await client.embed(["a"])

        await asyncio.gather(*(caller() for _ in range(6)))
    assert fast.count() > 2 * slow.count()
    assert slow.count() > 0


async def test_a_stopped_process_is_left_alone_until_it_goes_on() -> None:
    first, second = [await InferenceProcess().start() for _ in range(2)]
    client = GpuClient([first.url, second.url], "token", timeout_s=2)
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

        await eventually(has_load, within_s=60)
    finally:
        await client.aclose()
        first.stop()
        second.stop()
