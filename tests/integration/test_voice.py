"""The voice service as a process: its sockets, its end, its death, and what it leaves behind."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import pytest

from support.gpu_app import ServiceStarter
from support.serve import served
from support.voice import FakeApi, Microphone, VoiceProcess, load_recording, make_silence
from support.wait import until
from support.webrtc import open_browser

LIGHT = load_recording("kitchen_light_af_heart")
TIME = load_recording("what_time_af_heart")  # the shortest there is
SESSIONS = 25
TURNS, WARM = 200, 40  # of all conversations; pools have found their size after the first
ROOMS = ("kitchen", "hall", "study", "bath")


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[VoiceProcess]:
    async with AsyncExitStack() as stack:
        service = await ServiceStarter(stack)()
        gpu_url = await stack.enter_async_context(served(service.running.app, lifespan="off"))
        api_url = await stack.enter_async_context(served(FakeApi().app()))
        one = await VoiceProcess(tmp_path, gpu_url, api_url).start()
        try:
            yield one
        finally:
            if one.process and one.process.poll() is None:
                one.end(signal.SIGKILL)


async def test_its_only_udp_sockets_are_within_the_media_ports(process: VoiceProcess) -> None:
    assert not process.seen().net_connections("udp")
    async with open_browser(process.url) as kitchen, open_browser(process.url, room="attic") as attic:
        assert kitchen.get_messages("ready")
        assert attic.get_messages("ready")
        sockets = {one.laddr.port for one in process.seen().net_connections("udp")}
        assert sockets
        assert all(10_000 <= port <= 10_100 for port in sockets)
        assert not [one for one in process.seen().net_connections("udp") if one.raddr]


async def test_told_to_end_it_says_so_to_everyone_and_ends_in_time(process: VoiceProcess) -> None:
    async with process.talk() as microphone:
        begun_s = time.monotonic()
        assert process.end() == 0
        assert time.monotonic() - begun_s < 4
        await microphone.wait_until(lambda: microphone.close_code is not None)
        assert microphone.get_messages("error")[0]["code"] == "dependency_down"
        assert microphone.close_code == 1013


async def test_killed_and_started_again_it_takes_up_where_a_client_comes_back(
    process: VoiceProcess,
) -> None:
    async with process.talk() as microphone:
        process.end(signal.SIGKILL)
        await microphone.wait_until(lambda: microphone.close_code is not None)
    await process.start()
    async with process.talk() as microphone:
        await microphone.send_message(type="talk", on=True)
        await microphone.wait_for_state("listening")
        await microphone.send_in_real_time(LIGHT, make_silence(0.2))
        await microphone.send_message(type="talk", on=False)
        await microphone.wait_until(lambda: bool(microphone.get_messages("reply")))


async def test_sessions_leave_nothing_behind(process: VoiceProcess) -> None:
    async def session() -> None:
        async with process.talk() as microphone:
            await microphone.send_message(type="talk", on=True)
            await microphone.wait_for_state("listening")
            await microphone.send_audio(make_silence(0.5))

    def held() -> tuple[int, int]:
        seen = process.seen()
        return seen.num_threads(), len(seen.net_connections("all"))

    await session()
    async with open_browser(process.url):
        pass
    await until(lambda: len(process.seen().net_connections("udp")) == 0)
    threads, sockets = held()
    rss_mib = process.seen().memory_info().rss / 2**20
    for _ in range(SESSIONS):
        await session()
        async with open_browser(process.url):
            pass
    await until(lambda: held()[1] <= sockets + 2)
    grown_mib = process.seen().memory_info().rss / 2**20 - rss_mib
    print(f"{rss_mib:.0f} MiB, {grown_mib:.1f} more after {2 * SESSIONS} sessions")
    assert held()[0] <= threads + 2
    assert grown_mib < 40


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_two_hundred_turns_take_no_more_memory(process: VoiceProcess) -> None:
    mib: list[float] = []

    async def talk(room: str) -> None:
        async with process.talk(room) as microphone:
            await microphone.send_message(type="talk", on=True)
            for _ in range(TURNS // len(ROOMS)):
                mib.append(await turn_mib(process, microphone))  # noqa: PERF401 - as time goes

    await asyncio.gather(*map(talk, ROOMS))
    early, late = median(mib[WARM : WARM + 20]), median(mib[-20:])
    print(f"\n{early:.0f} MiB after {WARM} turns, {late:.0f} after {TURNS}")
    assert late < early * 1.03
    turns = [line for line in process.log if line["event"] == "turn"]
    assert len(turns) >= TURNS - len(ROOMS)  # the last of each room is told when it leaves


async def turn_mib(process: VoiceProcess, microphone: Microphone) -> float:
    """Have one turn, whose end is heard; return what is resident afterwards."""
    replies = len(microphone.get_messages("reply"))
    await microphone.wait_until(lambda: microphone.state in {"listening", "follow_up"})
    await microphone.send_in_real_time(TIME)
    if not replies:
        await microphone.send_message(type="talk", on=False)
    while len(microphone.get_messages("reply")) == replies:
        await microphone.send_in_real_time(make_silence(0.1))
    await microphone.wait_until(lambda: microphone.state == "follow_up")
    return float(process.seen().memory_info().rss) / 2**20


async def test_every_line_of_a_turn_carries_its_trace_id(process: VoiceProcess) -> None:
    async with process.talk() as microphone:
        await microphone.send_message(type="talk", on=True)
        await microphone.wait_for_state("listening")
        await microphone.send_in_real_time(LIGHT, make_silence(0.2))
        await microphone.send_message(type="talk", on=False)
        await microphone.wait_for_state("follow_up")
        trace_id = microphone.get_messages("reply")[0]["trace_id"]
    await until(lambda: any(line["event"] == "turn" for line in process.log))
    turn = next(line for line in process.log if line["event"] == "turn")
    assert turn["trace_id"] == trace_id
    assert (turn["component"], turn["outcome"]) == ("voice", "answered")
    assert {"vad", "stt", "command", "tts_first_byte", "first_audio"} <= turn["stages_ms"].keys()
    assert not [line for line in process.log if line["level"] == "error"]
    assert "kitchen light" not in str(process.log)  # what is said in the house stays there
