"""WebRTC client for tests: aiortc with a scripted microphone and a recorder."""

from __future__ import annotations

import asyncio
import fractions
import json
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler
from numpy.typing import NDArray

from barnabee.voice.transports import webrtc
from support.voice import TOKEN, Samples
from support.wait import LAST_RESORT_S, wait_until

RATE_HZ = 16_000
FRAME = 320  # 20 ms


class MicrophoneTrack(MediaStreamTrack):
    """Microphone track: silence, apart from the audio added with `enqueue`."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[Samples] = deque()
        self._sent = 0
        self._started_s = 0.0

    def enqueue(self, *sounds: Samples) -> None:
        whole = np.concatenate(sounds)
        whole = np.concatenate((whole, np.zeros(-len(whole) % FRAME, np.int16)))
        self.waiting.extend(whole.reshape(-1, FRAME))

    async def recv(self) -> AudioFrame:
        loop = asyncio.get_running_loop()
        self._started_s = self._started_s or loop.time()
        await asyncio.sleep(max(0.0, self._started_s + self._sent / RATE_HZ - loop.time()))
        samples = self.waiting.popleft() if self.waiting else np.zeros(FRAME, np.int16)
        frame = AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE_HZ, self._sent
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        self._sent += FRAME
        return frame


@dataclass
class Browser:
    """Browser page with a WebRTC connection."""

    peer: RTCPeerConnection
    microphone: MicrophoneTrack = field(default_factory=MicrophoneTrack)
    messages: list[dict[str, Any]] = field(default_factory=list)
    received: list[NDArray[np.int16]] = field(default_factory=list)  # 16 kHz
    channel: Any = None
    answer: dict[str, Any] = field(default_factory=dict)
    _recording: asyncio.Task[None] | None = None
    _link: tuple[Any, Any] | None = None  # send and receive without losses

    def get_messages(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message.get("type") == kind]

    @property
    def state(self) -> str:
        return str(self.get_messages("state")[-1]["state"]) if self.get_messages("state") else ""

    def send_message(self, **message: object) -> None:
        self.channel.send(json.dumps(message))

    @property
    def samples(self) -> Samples:
        return np.concatenate(self.received) if self.received else np.zeros(0, np.int16)

    async def wait_until(self, true: Callable[[], bool], within_s: float = LAST_RESORT_S) -> None:
        try:
            await wait_until(true, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; seen: {self.messages}") from error

    def set_packet_loss(self, share: float) -> None:
        """Drop this share of the packets sent and received from now on."""
        ice = self.peer.getTransceivers()[0].sender.transport.transport
        if self._link is None:
            self._link = ice._send, ice._recv
        send, receive = self._link
        rng = random.Random(1)  # noqa: S311 - guards no secret

        async def lossy_send(data: bytes) -> None:
            if rng.random() >= share:
                await send(data)

        async def lossy_receive() -> bytes:
            while True:
                data: bytes = await receive()
                if rng.random() >= share:
                    return data

        ice._send, ice._recv = lossy_send, lossy_receive
        # A browser conceals a lost packet at once; the buffer of aiortc waits 280 ms for it.
        webrtc.replace_jitter_buffer(self.peer.getTransceivers()[0].receiver)

    def record(self, track: MediaStreamTrack) -> None:
        self._recording = asyncio.create_task(self._record(track))

    async def _record(self, track: MediaStreamTrack) -> None:
        resampler = AudioResampler("s16", "mono", RATE_HZ)
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                for part in resampler.resample(frame):
                    self.received.append(part.to_ndarray()[0])

    async def close(self) -> None:
        await self.peer.close()
        if self._recording:
            self._recording.cancel()
            await asyncio.gather(self._recording, return_exceptions=True)


@asynccontextmanager
async def open_browser(
    url: str,
    *,
    room: str = "kitchen",
    token: str = TOKEN,
    munge: Callable[[str], str] = lambda sdp: sdp,
    path: str = "/v1/offer",
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Browser]:
    """Connect a browser; `munge` modifies its offer, `headers` replace those with the token."""
    browser = Browser(RTCPeerConnection(RTCConfiguration(iceServers=[])))
    peer = browser.peer
    peer.addTrack(browser.microphone)
    browser.channel = peer.createDataChannel("talk")
    browser.channel.on("message", lambda text: browser.messages.append(json.loads(text)))
    peer.on("track", browser.record)
    try:
        await peer.setLocalDescription(await peer.createOffer())
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            response = await client.post(
                path,
                json={"sdp": munge(peer.localDescription.sdp), "type": "offer", "room": room},
                headers=headers or {"Authorization": f"Bearer {token}"},
            )
        response.raise_for_status()
        browser.answer = response.json()
        await peer.setRemoteDescription(
            RTCSessionDescription(browser.answer["sdp"], browser.answer["type"])
        )
        await browser.wait_until(lambda: bool(browser.get_messages("ready")))
        yield browser
    finally:
        await browser.close()
