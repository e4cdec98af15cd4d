"""Route /v1/wake over a real socket, with an engine that the tests control."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from barnabee.core.errors import ModelDamaged
from barnabee.gpu.routes import wake as route
from support.asgi_server import serve_app
from support.fake_engines import FakeWakeWordEngine, JobGate
from support.gpu_app import TOKEN, ServiceStarter
from support.wait import eventually, wait_until
from support.wake_stream import expect_refusal, serve_wake_words

QUIET = np.zeros(1280, np.int16)


# ---- detection ----


async def test_wake_word_is_detected(start: ServiceStarter) -> None:
    async with serve_wake_words(start) as server, server.open_stream(room="kitchen") as link:
        assert link.ready["type"] == "ready"
        assert link.ready["words"] == ["hey_jarvis"]
        assert (link.ready["room"], link.ready["threshold"]) == ("kitchen", 500)
        await link.send_audio(QUIET, QUIET, server.engine.make_frame("hey_jarvis", 870))
        woken = await link.receive()
        assert (woken["type"], woken["word"], woken["score"]) == ("wake", "hey_jarvis", 0.87)
        assert woken["at_ms"] == 240
        assert len(woken["trace_id"]) == 32
        assert woken["trace_id"] != link.ready["trace_id"]


async def test_audio_messages_may_have_any_length(start: ServiceStarter) -> None:
    async with serve_wake_words(start) as server, server.open_stream() as link:
        sound = np.concatenate([QUIET, server.engine.make_frame("hey_jarvis")]).tobytes()
        await link.send_audio(sound[:1], b"", sound[1:2559], sound[2559:])
        assert (await link.receive())["at_ms"] == 160


async def test_only_requested_words_are_detected(start: ServiceStarter) -> None:
    async with (
        serve_wake_words(start) as server,
        server.open_stream() as one,
        server.open_stream(words="alexa,hey_jarvis") as two,
    ):
        for link in (one, two):
            await link.send_audio(server.engine.make_frame("alexa"))
        assert (await two.receive())["word"] == "alexa"
        await one.send_audio(server.engine.make_frame("hey_jarvis"))
        assert (await one.receive())["word"] == "hey_jarvis"


async def test_each_stream_has_its_own_state_and_threshold(start: ServiceStarter) -> None:
    async with (
        serve_wake_words(start) as server,
        server.open_stream(threshold=800) as one,
        server.open_stream() as two,
    ):
        word = server.engine.make_frame("hey_jarvis", 700)
        await one.send_audio(word)
        await two.send_audio(word)
        assert (await two.receive())["score"] == 0.7
        await one.send_audio(server.engine.make_frame("hey_jarvis", 900))
        assert (await one.receive())["score"] == 0.9
        assert server.engine.stream_count == 2


async def test_detections_and_false_wakes_are_counted(start: ServiceStarter) -> None:
    async with serve_wake_words(start) as server, server.open_stream(room="attic") as link:
        label = '{room="other",word="hey_jarvis"}'
        assert await server.read_metric(f"barnabee_wake_total{label}") == 0
        await link.send_audio(server.engine.make_frame("hey_jarvis"))
        await link.receive()
        await link.send_message(type="false_wake")
        await link.send_message(type="false_wake", word="hey_jarvis")
        await link.send_audio(QUIET)
        await eventually(lambda: server.has_metric("barnabee_wake_frame_seconds_count", 2))
        assert await server.read_metric(f"barnabee_wake_total{label}") == 1
        assert await server.read_metric(f"barnabee_false_wake_total{label}") == 2
        assert await server.read_metric("barnabee_wake_streams") == 1
        assert await server.read_metric("barnabee_inference_audio_seconds_total") == pytest.approx(
            0.16
        )
    assert "attic" not in (await server.service.client.get("/metrics")).text


# ---- authentication and limits ----


async def test_stream_without_the_token_is_refused(start: ServiceStarter) -> None:
    async with serve_wake_words(start) as server:
        status, body = await expect_refusal(server.url, "wrong")
        assert (status, body["code"]) == (401, "unauthorized")
        assert body["trace_id"]
        assert server.engine.stream_count == 0


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"words": "hey_barnabee"}, "hey_jarvis, alexa"),
        ({"room": "Kitchen!"}, "`room`"),
        ({"threshold": "much"}, "`threshold`"),
        ({"rate": 8000}, "known are room, words, threshold"),
    ],
)
async def test_invalid_parameters_are_refused(
    start: ServiceStarter, query: dict[str, object], said: str
) -> None:
    async with serve_wake_words(start) as server:
        status, body = await expect_refusal(server.url, TOKEN, **query)
        assert (status, body["code"]) == (400, "bad_request")
        assert said in body["message"]
        assert await server.read_metric("barnabee_wake_streams") == 0


async def test_stream_over_the_limit_is_refused_until_one_ends(start: ServiceStarter) -> None:
    async with serve_wake_words(start) as server, AsyncExitStack() as stack:
        links = [await stack.enter_async_context(server.open_stream()) for _ in range(16)]
        status, body = await expect_refusal(server.url, TOKEN)
        assert (status, body["code"]) == (503, "overloaded")
        assert "16 streams" in body["message"]
        await links[0].socket.close()
        await wait_until(lambda: len(server.service.capabilities.manager.ledger.leases) == 15)
        async with server.open_stream():
            pass


async def test_plain_http_request_is_not_found(start: ServiceStarter) -> None:
    async with serve_wake_words(start) as server:
        assert (await server.service.client.get("/v1/wake")).status_code == 404


# ---- errors during a stream ----


@pytest.mark.parametrize(
    ("message", "code", "close"),
    [
        ("{", "bad_request", 1003),
        ('{"type": "hello"}', "bad_request", 1003),
        ('{"type": "false_wake"}', "bad_request", 1003),  # nothing was detected yet
        ("x" * 2000, "too_large", 1009),
        (bytes(65_537), "too_large", 1009),
    ],
)
async def test_invalid_message_closes_the_stream_with_an_error(
    start: ServiceStarter, message: str | bytes, code: str, close: int
) -> None:
    async with serve_wake_words(start) as server, server.open_stream() as link:
        await link.socket.send(message)
        (error,), closed = await link.receive_until_closed()
        assert (error["type"], error["code"], closed) == ("error", code, close)
        assert error["message"]
        assert error["trace_id"] == link.ready["trace_id"]


async def test_silent_client_times_out_and_its_lease_is_released(
    start: ServiceStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "IDLE_TIMEOUT_S", 0.05)
    async with serve_wake_words(start) as server, server.open_stream() as link:
        (error,), closed = await link.receive_until_closed()
        assert (error["code"], closed) == ("timed_out", 1008)
        await wait_until(lambda: not server.service.capabilities.manager.ledger.leases)


async def test_empty_messages_do_not_extend_the_timeout(
    start: ServiceStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "IDLE_TIMEOUT_S", 0.1)
    async with serve_wake_words(start) as server, server.open_stream() as link:

        async def say_nothing_for_ever() -> None:
            while True:
                await link.send_audio(b"")
                await asyncio.sleep(0)  # the other side is in this loop too

        with pytest.raises(ConnectionClosed):
            await say_nothing_for_ever()


async def test_shutdown_closes_streams_and_refuses_new_ones(start: ServiceStarter) -> None:
    async with serve_wake_words(start) as server, server.open_stream() as link:
        assert server.service.running.before_shutdown is not None
        await server.service.running.before_shutdown()
        assert await link.receive_until_closed() == ([], 1001)
        status, body = await expect_refusal(server.url, TOKEN)
        assert (status, body["code"]) == (503, "dependency_down")


# ---- the engine ----


async def test_stream_holds_a_lease_until_it_ends(start: ServiceStarter) -> None:
    async with serve_wake_words(start) as server:
        async with server.open_stream() as link:
            await link.send_audio(QUIET)
            refusal = await server.service.client.post("/v1/models/wakeword/unload")
            assert (refusal.status_code, refusal.json()["code"]) == (409, "model_in_use")
        await wait_until(lambda: not server.service.capabilities.manager.ledger.leases)
        gone = await server.service.client.post("/v1/models/wakeword/unload")
        assert (gone.status_code, gone.json()["state"]) == (200, "absent")
        async with server.open_stream() as link:  # loads it again
            await link.send_audio(server.engine.make_frame("hey_jarvis"))
            assert (await link.receive())["type"] == "wake"


async def test_hanging_engine_closes_streams_and_is_unhealthy(
    start: ServiceStarter,
) -> None:
    engine = FakeWakeWordEngine(gate=JobGate())
    async with (
        serve_wake_words(start, engine) as server,
        server.open_stream() as one,
        server.open_stream() as two,
    ):
        server.service.capabilities.wake.preferred.inference_limit_s = 0.05
        await one.send_audio(QUIET)
        await two.send_audio(QUIET)
        for link in (one, two):
            (error,), closed = await link.receive_until_closed()
            assert (error["code"], closed) == ("engine_stuck", 1013)
        report = await server.service.running.health.report(max_age_s=0)
        assert (report.state, report.results["card"].code) == ("unhealthy", "engine_stuck")
        assert engine.gate is not None
        engine.gate.opened.set()
        await wait_until(lambda: not server.service.capabilities.manager.ledger.leases)
        assert (await server.service.running.health.report(max_age_s=0)).state == "healthy"


async def test_failing_engine_closes_the_stream_with_an_error_code(start: ServiceStarter) -> None:
    class Breaking(FakeWakeWordEngine):
        def open_stream(self, words):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            stream = super().open_stream(words)
            stream.engine = None  # type: ignore[assignment]
            return stream

    async with serve_wake_words(start, Breaking()) as server, server.open_stream() as link:
        await link.send_audio(QUIET)
        (error,), closed = await link.receive_until_closed()
        assert (error["code"], closed) == ("dependency_down", 1013)


async def test_missing_files_degrade_health_and_refuse_streams(start: ServiceStarter) -> None:
    def damaged() -> FakeWakeWordEngine:
        raise ModelDamaged(path="/models/openwakeword/alexa.onnx", reason="too short")

    service = await start(wake=damaged)
    async with serve_app(service.running.app, lifespan="off") as url:
        status, body = await expect_refusal(url, TOKEN)
        assert (status, body["code"]) == (500, "model_damaged")
        ready = await service.client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        found = ready.json()["dependencies"]["wake"]
        assert (found["status"], found["hard"], found["code"]) == (
            "unhealthy",
            False,
            "model_damaged",
        )


async def test_turn_does_not_lease_the_wake_word_model(start: ServiceStarter) -> None:
    async with serve_wake_words(start) as server:
        turn = await server.service.client.post("/v1/turns", json={"session": "kitchen"})
        assert "wakeword" not in turn.json()["models"]
