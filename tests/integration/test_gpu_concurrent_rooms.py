"""Four rooms talk while Whisper is forced in and another program takes memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from barnabee.audio import wav
from barnabee.audio.samples import to_pcm16
from support import parakeet_tdt
from support.gpu import MODEL_FOLDERS, TOKEN, GpuProcess, models_dir
from support.wait import eventually

ROOMS = ("kitchen", "hall", "study", "bath")
TURNS = 3  # of each room in each wave
OF_A_TURN = {"parakeet", "kokoro", "embeddings"}
UNLOADING = {"evict", "idle", "pressure", "by_hand"}
SPEECH = Path(__file__).parents[1] / "audio" / "what_time_af_heart.wav"
MIB = 1024 * 1024
TAKEN_MIB = 2500  # by the other program; less than Whisper is said to need
WHISPER_MIB, SPARE_MIB = 4000, 900
TAKE = """
import sys
kept = bytearray(int(sys.argv[1]) * 1024 * 1024)
kept[::4096] = bytes([1]) * len(kept[::4096])
print("taken", flush=True)
sys.stdin.read()
"""


def tight(graph: dict[str, Any]) -> None:
    """Let every model fit beside the others, but not beside another program's memory."""
    limit_mib = psutil.virtual_memory().available // MIB - 300
    small = {"embeddings": 400, "wakeword": 128, "kokoro": 900, "parakeet": 0}
    room_mib = limit_mib - graph["gpu"]["cpu_headroom_mib"] - SPARE_MIB - WHISPER_MIB
    small["parakeet"] = room_mib - sum(small.values())
    assert small["parakeet"] > 500, "this machine has too little memory for the test"
    for name, mib in {**small, "whisper": WHISPER_MIB}.items():
        graph["model"][name]["cpu_peak_mib"] = mib
    graph["model"]["parakeet"]["cpu_files"] = "parakeet-small"
    graph["service"]["gpu"]["memory_max_mib"] = limit_mib


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[GpuProcess]:
    models = tmp_path / "models"
    models.mkdir()
    for name in MODEL_FOLDERS:
        (models / name).symlink_to(models_dir() / name)
    parakeet_tdt.write_export(models / "parakeet-small")
    service = GpuProcess(tmp_path, models, change=tight).start()
    try:
        service.wait_for("/health/ready")
        yield service
    finally:
        service.stop()


@contextmanager
def another_program() -> Iterator[None]:
    """Hold memory that is really taken."""
    with subprocess.Popen(
        [sys.executable, "-c", TAKE, str(TAKEN_MIB)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"taken\n"
        try:
            yield
        finally:
            program.kill()


@dataclass
class Evening:
    """The rooms of a house that talk to the service, and when which turn was held."""

    client: httpx.AsyncClient
    turns: list[tuple[float, float]] = field(default_factory=list)
    second_opinions: int = 0

    async def wave(self) -> None:
        """Let all rooms talk, and something else want Whisper all the time."""
        forcing = asyncio.create_task(self.want_whisper())
        try:
            await asyncio.gather(*(self.talk(room) for room in ROOMS))
        finally:
            forcing.cancel()
            await asyncio.gather(forcing, return_exceptions=True)

    async def talk(self, room: str) -> None:
        for _ in range(TURNS):
            headers = {"X-Barnabee-Session": room}
            async with self.turn(room):
                files = {"file": ("a.wav", said(500, 900, 1400))}
                heard = await self.post(
                    "/v1/audio/transcriptions", headers, files=files, data={"model": "whisper-1"}
                )
                assert heard.json()["text"] == "turn on light"
                assert heard.json()["engine"] == "parakeet-small"
                texts = {"model": "embeddings", "input": heard.json()["text"]}
                meant = await self.post("/v1/embeddings", headers, json=texts)
                assert len(meant.json()["data"][0]["embedding"]) == 384
                words = {"model": "kokoro", "input": "Okay.", "response_format": "pcm"}
                spoken = await self.post("/v1/audio/speech", headers, json=words)
                assert len(spoken.content) > 24_000 * 2 // 4

    @asynccontextmanager
    async def turn(self, room: str) -> AsyncIterator[None]:
        begun = (await self.post("/v1/turns", {}, json={"session": room})).json()
        assert set(begun["models"]) == OF_A_TURN
        held_s = time.time()
        yield
        self.turns.append((held_s, time.time()))
        assert (await self.client.delete(f"/v1/turns/{begun['id']}")).status_code == 204

    async def post(self, path: str, headers: dict[str, str], **content: Any) -> httpx.Response:
        answer = await self.client.post(path, headers=headers, **content)
        assert answer.is_success, answer.text
        return answer

    async def want_whisper(self) -> None:
        """Have a recording heard by Whisper again and again; without memory, be told so."""
        while True:
            files = {"file": ("a.wav", SPEECH.read_bytes())}
            answer = await self.client.post(
                "/v1/audio/transcriptions", files=files, data={"model": "whisper"}
            )
            if answer.is_success:
                assert "what time is it" in answer.json()["text"].lower()
                self.second_opinions += 1
            else:
                assert answer.json()["code"] == "vram_taken", answer.text
                await asyncio.sleep(0.2)

    async def whisper_is(self, state: str) -> bool:
        return bool((await self.client.get("/v1/models/whisper")).json()["state"] == state)


def said(*tones_hz: int) -> bytes:
    sound = to_pcm16(parakeet_tdt.make_tones(*tones_hz))
    return wav.make_header(16_000) + sound


@pytest.mark.alone
@pytest.mark.timeout(600)
async def test_every_turn_is_answered_and_nothing_on_its_way_is_taken_from_it(
    gpu: GpuProcess,
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=gpu.url, headers=headers, timeout=60) as client:
        evening = Evening(client)
        await evening.wave()
        assert await evening.whisper_is("ready")
        with another_program():
            await evening.wave()
            await eventually(lambda: evening.whisper_is("absent"), within_s=30)
        opinions = evening.second_opinions
        await evening.wave()
        assert evening.second_opinions > opinions, "Whisper did not come back"
        await eventually(lambda: ledger_agrees(gpu, client), within_s=15)
    assert len(evening.turns) == 3 * len(ROOMS) * TURNS
    check_moves(gpu, evening)


def check_moves(gpu: GpuProcess, evening: Evening) -> None:
    """Whisper was taken away for the other program, and nothing from anybody who talked."""
    moves = [line for line in gpu.log() if line.get("event") == "vram"]
    taken = [line for line in moves if line["action"] in UNLOADING]
    assert ("pressure", "whisper") in {(line["action"], line["engine"]) for line in taken}
    assert [line["engine"] for line in moves if line["action"] == "loaded"].count("whisper") >= 2
    for line in taken:
        if line["engine"] in OF_A_TURN:
            at_s = datetime.fromisoformat(str(line["timestamp"])).timestamp()
            assert not [turn for turn in evening.turns if turn[0] < at_s < turn[1]], line


async def ledger_agrees(gpu: GpuProcess, client: httpx.AsyncClient) -> bool:
    """Return whether the ledger, at rest, holds what the system says the process has."""
    assert gpu.process is not None
    card = (await client.get("/v1/vram")).json()["card"]
    resident_mib = psutil.Process(gpu.process.pid).memory_info().rss // MIB
    booked_mib = card["held_mib"] + card["base_mib"]
    print(f"\nbooked {booked_mib} MiB, resident {resident_mib} MiB")
    return abs(booked_mib - resident_mib) <= resident_mib * 0.1
