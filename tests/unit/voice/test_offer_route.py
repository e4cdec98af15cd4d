"""Voice service end to end over WebRTC: aiortc as the browser, fake engines."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aioice
import aiortc.rtcicetransport
import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barnabee.core.errors import Misconfigured
from barnabee.voice.transports import webrtc
from support.asgi_server import serve_app
from support.gpu_app import ServiceStarter
from support.voice import (
    TOKEN,
    FakeApi,
    VoiceService,
    load_recording,
    make_silence,
    run_voice_service,
)
from support.wait import wait_until
from support.webrtc_browser import open_browser

LIGHT = load_recording("kitchen_light_bm_george")
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[VoiceService]:
    async with AsyncExitStack() as stack:
        gpu = await ServiceStarter(stack)()
        gpu_url = await stack.enter_async_context(serve_app(gpu.running.app, lifespan="off"))
        api_url = await stack.enter_async_context(serve_app(FakeApi().app()))
        yield await stack.enter_async_context(run_voice_service(gpu_url, api_url, tmp_path))


def media_ports(answer: str) -> set[int]:
    return {int(port) for port in re.findall(r"a=candidate:\S+ \d udp \d+ \S+ (\d+)", answer)}


async def test_browser_speaks_and_receives_a_reply(service: VoiceService) -> None:
    async with open_browser(service.url) as browser:
        browser.send_message(type="talk", on=True)
        await browser.wait_until(lambda: browser.state == "listening")
        browser.microphone.enqueue(LIGHT, make_silence(0.3))
        await browser.wait_until(lambda: not browser.microphone.waiting)
        browser.send_message(type="talk", on=False)
        await browser.wait_until(lambda: browser.state == "follow_up")
        assert browser.get_messages("transcript")[0]["text"] == "turn on the kitchen light"
        assert max(abs(int(n)) for n in (browser.samples.min(), browser.samples.max())) > 3000


async def test_media_uses_the_configured_ports_only(service: VoiceService) -> None:
    before = {conn.laddr.port for conn in psutil.Process().net_connections("udp")}
    async with open_browser(service.url) as browser:
        offered = media_ports(browser.answer["sdp"])
        assert offered
        assert all(10_000 <= port <= 10_100 for port in offered)
        now = {conn.laddr.port for conn in psutil.Process().net_connections("udp")}
        browsers = media_ports(browser.peer.localDescription.sdp)
        assert now - before - browsers == offered - browsers
        assert "typ srflx" not in browser.answer["sdp"]


async def test_ports_are_released_after_the_browser_disconnects(service: VoiceService) -> None:
    async with open_browser(service.url) as browser:
        offered = media_ports(browser.answer["sdp"])
    await wait_until(lambda: service.metric("barnabee_voice_sessions") == 0)
    await wait_until(
        lambda: not offered & {conn.laddr.port for conn in psutil.Process().net_connections("udp")}
    )


@pytest.mark.parametrize("end", ["", "a=end-of-candidates\r\n"])
async def test_browser_with_mdns_candidates_only_is_reached(
    service: VoiceService, end: str
) -> None:
    def hide_addresses(sdp: str) -> str:
        sdp = re.sub(r"(a=candidate:\S+ \d udp \d+) \S+", r"\1 0b1c2d3e-4f50.local", sdp)
        return sdp.replace("a=end-of-candidates\r\n", end)

    async with open_browser(service.url, munge=hide_addresses) as browser:
        assert browser.get_messages("ready")


async def test_trickled_candidates_are_accepted(service: VoiceService) -> None:
    async with (
        open_browser(service.url) as browser,
        httpx.AsyncClient(base_url=service.url) as client,
    ):
        line = "candidate:1 1 udp 2130706431 192.0.2.7 40000 typ host"
        late = {
            "pc_id": browser.answer["pc_id"],
            "candidates": [{"candidate": line, "sdpMid": "0"}],
        }
        assert (await client.patch("/v1/offer", json=late, headers=HEADERS)).status_code == 204
        late["candidates"][0]["candidate"] = "candidate:nonsense"
        refused = await client.patch("/v1/offer", json=late, headers=HEADERS)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")
        late["pc_id"] = "unknown"
        assert (await client.patch("/v1/offer", json=late, headers=HEADERS)).status_code == 404


@pytest.mark.parametrize(
    "sdp",
    [
        "nonsense",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
        "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
        "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n",
        "\0" * 100,
        "m=" * 1000,
    ],
)
async def test_invalid_offer_is_refused(service: VoiceService, sdp: str) -> None:
    async with httpx.AsyncClient(base_url=service.url, headers=HEADERS) as client:
        response = await client.post("/v1/offer", json={"sdp": sdp, "type": "offer"})
        assert (response.status_code, response.json()["code"]) == (400, "bad_request")
        assert "sdp" in response.json()["message"]
        assert service.metric("barnabee_voice_sessions") == 0


async def test_offer_requires_the_token(service: VoiceService) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        assert (await client.post("/v1/offer", json={"sdp": "x"})).status_code == 401


async def make_aiortc_offer() -> str:
    peer = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    try:
        peer.addTransceiver("audio")
        await peer.setLocalDescription(await peer.createOffer())
        return str(peer.localDescription.sdp)
    finally:
        await peer.close()


@pytest.fixture
async def offered() -> str:
    return await make_aiortc_offer()  # once: the drawn data must not depend on its length


async def test_offers_that_never_connect_occupy_no_room(
    service: VoiceService, offered: str
) -> None:
    async with (
        open_browser(service.url) as talking,
        httpx.AsyncClient(base_url=service.url, headers=HEADERS, timeout=30) as client,
    ):
        for room in ("kitchen", *(f"room{number}" for number in range(10))):
            response = await client.post("/v1/offer", json={"sdp": offered, "room": room})
            assert response.status_code == 200, response.text
        listed = (await client.get("/v1/rooms")).json()["rooms"]
        assert [room["room"] for room in listed] == ["kitchen"]
        assert service.metric("barnabee_voice_sessions") == 1
        talking.send_message(type="talk", on=True)
        await talking.wait_until(lambda: talking.state == "listening")
        async with open_browser(service.url, room="attic") as other:
            assert other.get_messages("ready")
        assert not talking.get_messages("error")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_damaged_offers_are_refused_and_the_service_survives(
    service: VoiceService, offered: str, data: st.DataObject
) -> None:
    lines = offered.split("\r\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        damage = data.draw(st.sampled_from(["drop", "twice", "cut", "junk", "swap"]))
        if damage == "drop" and len(lines) > 1:
            del lines[at]
        elif damage == "twice":
            lines.insert(at, lines[at])
        elif damage == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
        elif damage == "junk":
            lines[at] += data.draw(st.text(max_size=20))
        else:
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
    sdp = "\r\n".join(lines) or "x"
    async with httpx.AsyncClient(base_url=service.url, headers=HEADERS, timeout=30) as client:
        response = await client.post("/v1/offer", json={"sdp": sdp, "room": "fuzz"})
        assert response.status_code in {200, 400}, (response.text, sdp)
        assert (await client.get("/health/live")).status_code == 200


def test_exhausted_port_range_gives_no_socket() -> None:
    bound = webrtc.bind_socket("127.0.0.1", range(10_090, 10_091))
    assert bound is not None
    assert webrtc.bind_socket("127.0.0.1", range(10_090, 10_091)) is None
    assert bound.getsockname() == ("127.0.0.1", 10_090)
    assert bound.type == socket.SOCK_DGRAM
    bound.close()


def test_unknown_aioice_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiortc.rtcicetransport, "Connection", object)
    with pytest.raises(Misconfigured, match="aiortc or aioice"):
        webrtc.restrict_ports(range(10_000, 10_101))
    monkeypatch.undo()
    monkeypatch.setattr(aioice.Connection, "get_component_candidates", lambda self: [])
    with pytest.raises(Misconfigured):
        webrtc.restrict_ports(range(10_000, 10_101))
