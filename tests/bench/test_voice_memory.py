"""Memory of the voice service over two hundred turns in real time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median

import pytest

from support.benchmark import choose_size, is_at_most
from support.voice import Microphone, VoiceProcess, load_recording, make_silence
from support.voice_process import run_voice_process

TIME = load_recording("what_time_af_heart")  # the shortest recording
# In all; pools have reached their size after the warm-up.
TURNS, WARM = choose_size((200, 40), (8, 4))
ROOMS = ("kitchen", "hall", "study", "bath")
GROWTH_LIMIT = 1.03


@pytest.mark.timeout(1200)
async def test_memory_is_constant_over_two_hundred_turns(tmp_path: Path) -> None:
    async with run_voice_process(tmp_path) as process:
        await measure_growth(process)


async def measure_growth(process: VoiceProcess) -> None:
    mib: list[float] = []

    async def talk(room: str) -> None:
        async with process.talk(room) as microphone:
            await microphone.send_message(type="talk", on=True)
            for _ in range(TURNS // len(ROOMS)):
                mib.append(await turn_mib(process, microphone))  # noqa: PERF401 - in the order of time

    await asyncio.gather(*map(talk, ROOMS))
    early, late = median(mib[WARM : WARM + 20]), median(mib[-20:])
    print(f"\n{early:.0f} MiB after {WARM} turns, {late:.0f} after {TURNS}")
    assert is_at_most(late / early, GROWTH_LIMIT)
    turns = [line for line in process.log if line["event"] == "turn"]
    assert len(turns) >= TURNS - len(ROOMS)  # the last turn of a room is logged when it disconnects


async def turn_mib(process: VoiceProcess, microphone: Microphone) -> float:
    """Run one turn, ended by silence; return the resident memory afterwards."""
    replies = len(microphone.get_messages("reply"))
    await microphone.wait_until(lambda: microphone.state in {"listening", "follow_up"})
    await microphone.send_in_real_time(TIME)
    if not replies:
        await microphone.send_message(type="talk", on=False)
    while len(microphone.get_messages("reply")) == replies:
        await microphone.send_in_real_time(make_silence(0.1))
    await microphone.wait_until(lambda: microphone.state == "follow_up")
    return float(process.inspect().memory_info().rss) / 2**20
