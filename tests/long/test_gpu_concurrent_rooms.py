"""Four rooms converse while Whisper is loaded and another program takes memory."""

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
from support.gpu import MODEL_FOLDERS, TOKEN, GpuProcess, find_models_dir
from support.wait import LAST_RESORT_S, eventually

ROOMS = ("kitchen", "hall", "study", "bath")
TURNS = 3  # of each room in each wave
TURN_MODELS = {"parakeet", "kokoro", "embeddings"}
UNLOADING = {"evict", "idle", "pressure", "by_hand"}
SPEECH = Path(__file__).parents[1] / "audio" / "what_time_af_heart.wav"
MIB = 1024 * 1024
TAKEN_MIB = 2500  # by the other program; less than the size of Whisper in the ledger
WHISPER_MIB, SPARE_MIB = 4000, 900
TAKE = """
import sys
kept = bytearray(int(sys.argv[1]) * 1024 * 1024)
kept[::4096] = bytes([1]) * len(kept[::4096])
print("taken", flush=True)
sys.stdin.read()
"""


def tighten_budget(graph: dict[str, Any]) -> None:
    """Let all models fit together, but not beside the memory of another program."""
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
        (models / name).symlink_to(find_models_dir() / name)
    parakeet_tdt.write_export(models / "parakeet-small")
    service = GpuProcess(tmp_path, models, change=tighten_budget).start()
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
class Rooms:
    """Rooms that use the service, and the start and end of each turn."""

    client: httpx.AsyncClient
    turns: list[tuple[float, float]] = field(default_factory=list)
    whisper_transcripts: int = 0

    async def run_turns(self) -> None:
        """Run turns in all rooms while another client requests Whisper in a loop."""
        whisper = asyncio.create_task(self.request_whisper())
        try:
            await asyncio.gather(*(self.run_room(room) for room in ROOMS))
        finally:
            whisper.cancel()
            await asyncio.gather(whisper, return_exceptions=True)

    async def run_room(self, room: str) -> None:
        for _ in range(TURNS):
            headers = {"X-Barnabee-Session": room}
            async with self.turn(room):
                files = {"file": ("a.wav", make_wav(500, 900, 1400))}
                transcript = await self.post(
                    "/v1/audio/transcriptions", headers, files=files, data={"model": "whisper-1"}
                )
                assert transcript.json()["text"] == "turn on light"
                assert transcript.json()["engine"] == "parakeet-small"
                texts = {"model": "embeddings", "input": transcript.json()["text"]}
                embedded = await self.post("/v1/embeddings", headers, json=texts)
                assert len(embedded.json()["data"][0]["embedding"]) == 384
                words = {"model": "kokoro", "input": "Okay.", "response_format": "pcm"}
                spoken = await self.post("/v1/audio/speech", headers, json=words)
                assert len(spoken.content) > 24_000 * 2 // 4

    @asynccontextmanager
    async def turn(self, room: str) -> AsyncIterator[None]:
        begun = (await self.post("/v1/turns", {}, json={"session": room})).json()
        assert set(begun["models"]) == TURN_MODELS
        held_s = time.time()
        yield
        self.turns.append((held_s, time.time()))
        assert (await self.client.delete(f"/v1/turns/{begun['id']}")).status_code == 204

    async def post(self, path: str, headers: dict[str, str], **content: Any) -> httpx.Response:
        answer = await self.client.post(path, headers=headers, **content)
        assert answer.is_success, answer.text
        return answer

    async def request_whisper(self) -> None:
        """Transcribe with Whisper in a loop; without memory the error is `vram_taken`."""
        while True:
            files = {"file": ("a.wav", SPEECH.read_bytes())}
            answer = await self.client.post(
                "/v1/audio/transcriptions", files=files, data={"model": "whisper"}
            )
            if answer.is_success:
                assert "what time is it" in answer.json()["text"].lower()
                self.whisper_transcripts += 1
            else:
                assert answer.json()["code"] == "vram_taken", answer.text
                await asyncio.sleep(0.2)

    async def has_whisper_state(self, state: str) -> bool:
        return bool((await self.client.get("/v1/models/whisper")).json()["state"] == state)


def make_wav(*tones_hz: int) -> bytes:
    sound = to_pcm16(parakeet_tdt.make_tones(*tones_hz))
    return wav.make_header(16_000) + sound


@pytest.mark.alone
@pytest.mark.timeout(600)
async def test_every_turn_is_answered_and_keeps_its_models(
    gpu: GpuProcess,
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=gpu.url, headers=headers, timeout=60) as client:
        rooms = Rooms(client)
        await rooms.run_turns()
        assert await rooms.has_whisper_state("ready")
        with another_program():
            await rooms.run_turns()
            await eventually(lambda: rooms.has_whisper_state("absent"))
        before = rooms.whisper_transcripts
        waves, deadline = 2, time.monotonic() + LAST_RESORT_S
        while rooms.whisper_transcripts == before:  # a wave may be shorter than the load
            assert time.monotonic() < deadline, "Whisper was not loaded again"
            await rooms.run_turns()
            waves += 1
        await eventually(lambda: ledger_agrees(gpu, client))
    assert len(rooms.turns) == waves * len(ROOMS) * TURNS
    check_moves(gpu, rooms)


def check_moves(gpu: GpuProcess, rooms: Rooms) -> None:
    """Check that Whisper was unloaded for the other program, and no model during its turn."""
    moves = [line for line in gpu.log() if line.get("event") == "vram"]
    taken = [line for line in moves if line["action"] in UNLOADING]
    assert ("pressure", "whisper") in {(line["action"], line["engine"]) for line in taken}
    assert [line["engine"] for line in moves if line["action"] == "loaded"].count("whisper") >= 2
    for line in taken:
        if line["engine"] in TURN_MODELS:
            at_s = datetime.fromisoformat(str(line["timestamp"])).timestamp()
            assert not [turn for turn in rooms.turns if turn[0] < at_s < turn[1]], line


async def ledger_agrees(gpu: GpuProcess, client: httpx.AsyncClient) -> bool:
    """Return whether the idle ledger agrees with the process' resident memory."""
    assert gpu.process is not None
    memory = (await client.get("/v1/vram")).json()["card"]
    resident_mib = psutil.Process(gpu.process.pid).memory_info().rss // MIB
    booked_mib = memory["held_mib"] + memory["base_mib"]
    print(f"\nbooked {booked_mib} MiB, resident {resident_mib} MiB")
    return abs(booked_mib - resident_mib) <= resident_mib * 0.1
