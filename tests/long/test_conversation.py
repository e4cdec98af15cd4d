"""Conversations with real models: recordings in, replies transcribed with Whisper.

The inference service and the api are real processes, which some tests kill.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barnabee.audio import wav
from barnabee.clients.gpu import GpuClient
from barnabee.core import system
from barnabee.core.schema import System
from support import lossy_network
from support.api import ApiProcess
from support.filler_recordings import record_fillers
from support.gpu import GpuProcess, find_models_dir
from support.redis import RedisServer
from support.voice import (
    AUDIO,
    ROOT,
    Microphone,
    Samples,
    VoiceService,
    load_recording,
    make_silence,
    run_voice_service,
)
from support.wait import eventually
from support.webrtc_browser import Browser, open_browser

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]

TOKEN = "made-up-token"
RATE_HZ = 24_000
INTERRUPTION = load_recording("kitchen_light_bm_george")
ANSWERED_S = 240  # on two cores beside four other programs
WAIT_LIMIT_MS = 120_000


@dataclass
class Parts:
    """Processes of a conversation."""

    gpu: GpuProcess
    api: ApiProcess
    fillers: Path

    def client(self) -> GpuClient:
        return GpuClient(self.gpu.url, TOKEN, timeout_s=120)


def wait_longer(graph: dict[str, Any]) -> None:
    graph["gpu"]["wait_limit_ms"] = WAIT_LIMIT_MS


def load_patient_system() -> System:
    """Return the system with a long time limit of the inference service, for a busy machine."""
    graph = system.load_system(ROOT / "system.toml")
    return graph.model_copy(
        update={"gpu": graph.gpu.model_copy(update={"wait_limit_ms": WAIT_LIMIT_MS})}
    )


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuProcess]:
    process = GpuProcess(tmp_path_factory.mktemp("gpu"), find_models_dir(), change=wait_longer)
    process.start()
    process.wait_for("/health/ready")
    yield process
    process.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def fillers(gpu: GpuProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_fillers(gpu, tmp_path_factory.mktemp("data") / "fillers")


@pytest.fixture(scope="module")
def parts(
    gpu: GpuProcess, fillers: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Parts]:
    folder = tmp_path_factory.mktemp("api")
    redis = RedisServer(folder / "redis")
    redis.start()
    api = ApiProcess(folder, redis.url, environment={"GPU_SERVICE_URL": gpu.url}, token=TOKEN)
    api.start()
    asyncio.run(eventually(api.health))
    yield Parts(gpu, api, fillers)
    api.kill()
    redis.stop()


@pytest.fixture
async def service(parts: Parts) -> AsyncIterator[VoiceService]:
    async with run_voice_service(
        parts.gpu.url,
        parts.api.url,
        parts.fillers.parent,
        graph=load_patient_system(),
        token=TOKEN,
    ) as running:
        yield running


async def transcribe(parts: Parts, samples: Samples, rate_hz: int) -> str:
    """Transcribe with Whisper; return lower case without punctuation."""
    client = parts.client()
    try:
        return normalize((await client.transcribe(wav.encode(samples.tobytes(), rate_hz))).text)
    finally:
        await client.aclose()


def normalize(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def add_pink_noise(samples: Samples, snr_db: float = 10) -> Samples:
    spectrum = np.fft.rfft(np.random.default_rng(3).standard_normal(len(samples)))
    spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum))))
    pink = np.fft.irfft(spectrum, len(samples))
    speech = samples.astype(np.float64)
    loud = np.sqrt(np.mean(np.square(speech[np.abs(speech) > 300])))
    pink *= loud / np.sqrt(np.mean(np.square(pink))) / 10 ** (snr_db / 20)
    return np.clip(speech + pink, -32768, 32767).astype(np.int16)


async def test_wake_word_and_question_in_one_breath_are_answered(
    service: VoiceService, parts: Parts
) -> None:
    async with service.talk(token=TOKEN) as microphone:
        await microphone.send_in_real_time(
            make_silence(1.0), load_recording("wake/hey_jarvis_af_heart")
        )
        await microphone.send_in_real_time(
            load_recording("what_can_you_do_af_heart"), make_silence(1.0)
        )
        await microphone.wait_until(lambda: bool(microphone.get_messages("reply")), ANSWERED_S)
        assert microphone.get_messages("wake")[0]["word"] == "hey_jarvis"
        assert "what can you do" in normalize(microphone.get_messages("transcript")[0]["text"])
        assert "jarvis" not in microphone.get_messages("transcript")[0]["text"].lower()
        await microphone.wait_for_state("follow_up", ANSWERED_S)
        transcript = await transcribe(parts, microphone.samples, RATE_HZ)
        words = normalize(microphone.get_messages("reply")[0]["text"]).split()
        assert sum(word in transcript.split() for word in words) > 0.7 * len(words), transcript


@pytest.mark.parametrize("speaker", ["af_heart", "bm_george"])
@pytest.mark.parametrize("noise", [False, True], ids=["quiet", "pink-noise-10-dB"])
async def test_browser_asks_and_receives_the_spoken_reply(
    service: VoiceService, parts: Parts, speaker: str, noise: bool
) -> None:
    question = np.concatenate(
        (make_silence(0.3), load_recording(f"what_can_you_do_{speaker}"), make_silence(1.2))
    )
    async with open_browser(service.url, token=TOKEN) as browser:
        browser.send_message(type="talk", on=True)
        await browser.wait_until(lambda: browser.state == "listening")
        browser.microphone.enqueue(add_pink_noise(question) if noise else question)
        await browser.wait_until(lambda: not browser.microphone.waiting)
        browser.send_message(type="talk", on=False)
        await browser.wait_until(lambda: bool(browser.get_messages("reply")), ANSWERED_S)
        assert "what can you do" in normalize(browser.get_messages("transcript")[0]["text"])
        await browser.wait_until(lambda: browser.state == "follow_up", ANSWERED_S)
        transcript = await transcribe(parts, browser.samples, 16_000)
        words = normalize(browser.get_messages("reply")[0]["text"]).split()
        assert sum(word in transcript.split() for word in words) > 0.7 * len(words), transcript


async def test_other_speech_does_not_wake_the_assistant(service: VoiceService) -> None:
    talk = [
        load_recording(name)
        for name in (
            *("wake/hey_mycroft_af_heart", "wake/alexa_af_heart", "what_time_bm_george"),
            *("kitchen_light_bm_george", "what_can_you_do_af_heart"),
        )
    ]
    async with service.talk(token=TOKEN) as microphone:
        await microphone.send_in_real_time(make_silence(1.0), *talk, make_silence(0.5))
        assert microphone.state == "asleep"
        assert not microphone.get_messages("wake")


async def test_two_rooms_have_separate_conversations(service: VoiceService) -> None:
    async with (
        service.talk("kitchen", TOKEN) as kitchen,
        service.talk("attic", TOKEN) as attic,
    ):
        for microphone in (kitchen, attic):
            await microphone.send_message(type="talk", on=True)
            await microphone.wait_for_state("listening")
        await asyncio.gather(
            kitchen.send_in_real_time(load_recording("what_time_af_heart"), make_silence(0.2)),
            attic.send_in_real_time(load_recording("what_can_you_do_bm_george"), make_silence(0.2)),
        )
        for microphone in (kitchen, attic):
            await microphone.send_message(type="talk", on=False)
        for microphone in (kitchen, attic):
            await microphone.wait_until(
                lambda client=microphone: bool(client.get_messages("reply")),  # type: ignore[misc]
                ANSWERED_S,
            )
        assert "time" in normalize(kitchen.get_messages("transcript")[0]["text"])
        assert "what can you do" in normalize(attic.get_messages("transcript")[0]["text"])


async def test_barge_in_stops_the_reply(service: VoiceService) -> None:
    async with service.talk(token=TOKEN) as microphone:
        await microphone.send_message(type="talk", on=True)
        await microphone.wait_for_state("listening")
        await microphone.send_in_real_time(
            load_recording("what_can_you_do_af_heart"), make_silence(0.2)
        )
        await microphone.send_message(type="talk", on=False)
        await microphone.wait_for_state("speaking", ANSWERED_S)
        await microphone.send_in_real_time(make_silence(0.6))
        await microphone.send_in_real_time(INTERRUPTION)
        await microphone.wait_until(lambda: bool(microphone.get_messages("heard")))
        played, reply = (
            microphone.get_messages("heard")[0]["text"],
            microphone.get_messages("reply")[0]["text"],
        )
        assert reply.startswith(played)
        assert len(played) < len(reply)
        await microphone.send_in_real_time(make_silence(1.0))
        await microphone.wait_until(
            lambda: len(microphone.get_messages("transcript")) == 2, ANSWERED_S
        )
        assert "kitchen light" in normalize(microphone.get_messages("transcript")[1]["text"])


@pytest.mark.parametrize("echo_db", [-20, -6])
async def test_echo_of_the_reply_is_no_barge_in(service: VoiceService, echo_db: float) -> None:
    async with service.talk(token=TOKEN) as microphone:
        await microphone.send_message(type="talk", on=True)
        await microphone.wait_for_state("listening")
        await microphone.send_in_real_time(
            load_recording("what_can_you_do_af_heart"), make_silence(0.2)
        )
        await microphone.send_message(type="talk", on=False)
        await microphone.wait_for_state("thinking")
        await send_echo_until(microphone, "follow_up", echo_db)
        assert not microphone.get_messages("heard")
        turns = {message["turn"] for message in microphone.get_messages("state")} - {0}
        assert len(turns) == 2  # the turn and its follow-up
    assert service.metric("barnabee_barge_ins_total") == 0


async def send_echo_until(microphone: Microphone, state: str, echo_db: float) -> None:
    """Send the received audio back, 100 ms later, until 1.5 s after `state`."""
    loop = asyncio.get_running_loop()
    gain, position, delay = 10 ** (echo_db / 20), 0, deque([make_silence(0.02)] * 5)
    next_s, until_s = loop.time(), loop.time() + ANSWERED_S
    while loop.time() < until_s:
        if microphone.state == state and until_s > loop.time() + 1.5:
            until_s = loop.time() + 1.5
        played = microphone.samples[position : position + 480]
        position += len(played)
        played = np.concatenate((played, np.zeros(480 - len(played), np.int16)))
        resampled = np.interp(np.arange(320) * 1.5, np.arange(480), played * gain).astype(np.int16)
        delay.append(resampled)
        await microphone.socket.send(delay.popleft().tobytes())
        next_s += 0.02
        await asyncio.sleep(max(0.0, next_s - loop.time()))


async def test_lost_stt_is_announced_and_recovers(service: VoiceService, parts: Parts) -> None:
    async with service.talk(token=TOKEN) as microphone:
        parts.gpu.stop(signal.SIGKILL)
        await ask(microphone)
        await microphone.wait_until(lambda: bool(microphone.get_messages("error")), ANSWERED_S)
        await microphone.wait_for_state("follow_up", ANSWERED_S)
        played = microphone.samples.copy()
        parts.gpu.start().wait_for("/health/ready")
        assert normalize(
            system.load_system(ROOT / "system.toml").trouble.stt_failed
        ) == await transcribe(parts, played, RATE_HZ)
        await ask(microphone)
        await microphone.wait_until(lambda: bool(microphone.get_messages("reply")), ANSWERED_S)


async def test_tts_lost_during_a_reply_is_announced_by_a_recording(
    service: VoiceService, parts: Parts
) -> None:
    async with service.talk(token=TOKEN) as microphone:
        await ask(microphone)
        await microphone.wait_for_state("speaking", ANSWERED_S)
        parts.gpu.stop(signal.SIGKILL)
        await microphone.wait_for_state("follow_up", ANSWERED_S)
        parts.gpu.start().wait_for("/health/ready")
        assert microphone.get_messages("error")
        assert "find my voice" in await transcribe(parts, microphone.samples, RATE_HZ)


async def test_lost_api_is_announced_and_recovers(service: VoiceService, parts: Parts) -> None:
    async with service.talk(token=TOKEN) as microphone:
        parts.api.kill()
        await ask(microphone)
        await microphone.wait_for_state("follow_up", ANSWERED_S)
        assert microphone.get_messages("error")[0]["code"] == "dependency_down"
        assert "think straight" in await transcribe(parts, microphone.samples, RATE_HZ)
        parts.api.start()
        await parts.api.wait_until_unhealthy()
        await ask(microphone)
        await microphone.wait_until(lambda: bool(microphone.get_messages("reply")), ANSWERED_S)


async def ask(microphone: Microphone) -> None:
    """Ask "what can you do" with the button held."""
    await microphone.send_message(type="talk", on=True)
    await microphone.wait_until(lambda: microphone.state in {"listening", "hearing"})
    await microphone.send_in_real_time(
        load_recording("what_can_you_do_bm_george"), make_silence(0.2)
    )
    await microphone.send_message(type="talk", on=False)
    await microphone.wait_until(lambda: microphone.state not in {"listening", "hearing"})


@pytest.mark.parametrize("loss_percent", [5, 20])
async def test_conversation_over_a_lossy_network(
    parts: Parts, tmp_path: Path, loss_percent: int
) -> None:
    reason = lossy_network.unavailability_reason()
    if reason:
        pytest.skip(f"no lossy network: {reason}")
    wav, out = AUDIO / "what_can_you_do_af_heart.wav", tmp_path / "seen.json"
    async with run_voice_service(
        parts.gpu.url, parts.api.url, parts.fillers.parent, token=TOKEN, bind="0.0.0.0"
    ) as running:
        url = running.url.replace("0.0.0.0", lossy_network.OUTSIDE)
        with lossy_network.run_lossy_namespace(loss_percent) as name:
            await asyncio.to_thread(lossy_network.run_browser, name, url, TOKEN, wav, out)
    messages = json.loads(out.read_text(encoding="utf-8"))
    received = np.frombuffer(out.with_suffix(".pcm").read_bytes(), "<i2")
    await check_conversation(parts, messages, received, loss_percent)


@pytest.mark.parametrize("loss_percent", [5, 20])
async def test_conversation_with_packets_lost_at_the_socket(
    service: VoiceService, parts: Parts, loss_percent: int
) -> None:
    async with open_browser(service.url, token=TOKEN) as browser:
        browser.set_packet_loss(loss_percent / 100)
        await ask_browser(browser)
        await browser.wait_until(lambda: browser.state == "follow_up", ANSWERED_S)
        await check_conversation(parts, browser.messages, browser.samples, loss_percent)


async def ask_browser(browser: Browser) -> None:
    """Ask "what can you do" with the button held."""
    browser.send_message(type="talk", on=True)
    await browser.wait_until(lambda: browser.state in {"listening", "hearing"})
    browser.microphone.enqueue(load_recording("what_can_you_do_af_heart"), make_silence(0.3))
    await browser.wait_until(lambda: not browser.microphone.waiting)
    browser.send_message(type="talk", on=False)
    await browser.wait_until(lambda: browser.state not in {"listening", "hearing"}, ANSWERED_S)


async def check_conversation(
    parts: Parts, messages: list[dict[str, Any]], received: Samples, loss_percent: int
) -> None:
    """Check the transcript of the question, and most words of the reply."""
    by_type = {message["type"]: message for message in messages}
    assert "what can you do" in normalize(by_type["transcript"]["text"])
    transcript = (await transcribe(parts, received, 16_000)).split()
    words = normalize(by_type["reply"]["text"]).split()
    share = sum(word in transcript for word in words) / len(words)
    print(f"{loss_percent} % lost: {share:.0%} of the words were recognized")
    assert share > 0.5
