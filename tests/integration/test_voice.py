"""Voice service as a process: sockets, shutdown, crash recovery, resources, logs."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.voice import VoiceProcess, load_recording, make_silence
from support.voice_process import run_voice_process
from support.wait import wait_until
from support.webrtc_browser import open_browser

LIGHT = load_recording("kitchen_light_af_heart")
SESSIONS = 10  # each by WebSocket and by WebRTC


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[VoiceProcess]:
    async with run_voice_process(tmp_path) as running:
        yield running


async def test_udp_sockets_are_within_the_media_ports(process: VoiceProcess) -> None:
    assert not process.inspect().net_connections("udp")
    async with (
        open_browser(process.url) as kitchen,
        open_browser(process.url, room="attic") as attic,
    ):
        assert kitchen.get_messages("ready")
        assert attic.get_messages("ready")
        sockets = {conn.laddr.port for conn in process.inspect().net_connections("udp")}
        assert sockets
        assert all(10_000 <= port <= 10_100 for port in sockets)
        assert not [conn for conn in process.inspect().net_connections("udp") if conn.raddr]


async def test_shutdown_informs_clients_before_it_closes_their_connections(
    process: VoiceProcess,
) -> None:
    async with process.talk() as microphone:
        assert process.stop() == 0
        await microphone.wait_until(lambda: microphone.close_code is not None)
        assert microphone.get_messages("error")[0]["code"] == "dependency_down"
        assert microphone.close_code == 1013


async def test_restarted_service_accepts_reconnecting_clients(
    process: VoiceProcess,
) -> None:
    async with process.talk() as microphone:
        process.stop(signal.SIGKILL)
        await microphone.wait_until(lambda: microphone.close_code is not None)
    await process.start()
    async with process.talk() as microphone:
        await microphone.send_message(type="talk", on=True)
        await microphone.wait_for_state("listening")
        await microphone.send_in_real_time(LIGHT, make_silence(0.2))
        await microphone.send_message(type="talk", on=False)
        await microphone.wait_until(lambda: bool(microphone.get_messages("reply")))


async def test_sessions_release_their_resources(process: VoiceProcess) -> None:
    async def session() -> None:
        async with process.talk() as microphone:
            await microphone.send_message(type="talk", on=True)
            await microphone.wait_for_state("listening")
            await microphone.send_audio(make_silence(0.5))

    def count_resources() -> tuple[int, int]:
        running = process.inspect()
        return running.num_threads(), len(running.net_connections("all"))

    async def run_sessions() -> None:
        for _ in range(SESSIONS):
            await session()
            async with open_browser(process.url):
                pass

    await run_sessions()  # thread pools grow to their bound as needed
    await wait_until(lambda: len(process.inspect().net_connections("udp")) == 0)
    threads, sockets = count_resources()
    rss_mib = process.inspect().memory_info().rss / 2**20
    await run_sessions()
    await wait_until(lambda: count_resources()[1] <= sockets + 2)
    growth_mib = process.inspect().memory_info().rss / 2**20 - rss_mib
    print(f"{rss_mib:.0f} MiB, {growth_mib:.1f} MiB more after {2 * SESSIONS} sessions")
    # less than one of each session
    assert count_resources()[0] < threads + SESSIONS
    assert growth_mib < 40


async def test_log_line_of_a_turn_has_trace_id_and_stages(process: VoiceProcess) -> None:
    async with process.talk() as microphone:
        await microphone.send_message(type="talk", on=True)
        await microphone.wait_for_state("listening")
        await microphone.send_in_real_time(LIGHT, make_silence(0.2))
        await microphone.send_message(type="talk", on=False)
        await microphone.wait_for_state("follow_up")
        trace_id = microphone.get_messages("reply")[0]["trace_id"]
    await wait_until(lambda: any(line["event"] == "turn" for line in process.log))
    turn = next(line for line in process.log if line["event"] == "turn")
    assert turn["trace_id"] == trace_id
    assert (turn["component"], turn["outcome"]) == ("voice", "answered")
    assert {"vad", "stt", "command", "tts_first_byte", "first_audio"} <= turn["stages_ms"].keys()
    assert not [line for line in process.log if line["level"] == "error"]
    assert "kitchen light" not in str(process.log)  # transcripts are private
