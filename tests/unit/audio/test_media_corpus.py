"""Hostile media: each file is decoded or refused, within the limits of the decoder's children."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from barnabee.audio import decode, wav
from barnabee.audio.decode import AudioDecoder
from barnabee.core.errors import DependencyDown, InvalidAudio, TooLarge
from support.media import FOLDER, MAX_BYTES, make_mp4, make_wav, make_wav_format
from support.wait import wait_until

CORPUS = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir())}
PROGRAM_FOLDER = decode._PROGRAM.parent
TOO_COSTLY = "too much memory or time"
MUTATIONS, SEED = 120, 15
MIB = 2**20


@pytest.fixture
async def decoder() -> AsyncIterator[AudioDecoder]:
    decoder = AudioDecoder(max_s=300)
    yield decoder
    await decoder.aclose()


async def read_audio(decoder: AudioDecoder, content: bytes) -> wav.Wav | None:
    """Read as the transcription route does; None when the file is refused."""
    try:
        if content[:4] in wav.MAGIC:
            return wav.parse(content, max_s=300)
        return await decoder.decode(content)
    except (InvalidAudio, TooLarge):
        return None


def mutate(content: bytes, chance: random.Random) -> bytes:
    mutated = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        # headers are the most fragile
        start = min(chance.choice((64, 512, len(mutated))), len(mutated))
        position = chance.randrange(start) if start else 0
        piece = chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\x80"))
        mutated[position : position + chance.choice((0, len(piece)))] = piece
    return bytes(mutated[: chance.choice((len(mutated), chance.randint(0, len(mutated)))) or None])


def test_corpus_is_small() -> None:
    assert max(map(len, CORPUS.values())) <= MAX_BYTES
    assert sum(map(len, CORPUS.values())) <= 200 * 1024


async def test_each_file_is_decoded_or_refused(decoder: AudioDecoder) -> None:
    found = {name: await read_audio(decoder, content) for name, content in CORPUS.items()}
    readable = {name for name, audio in found.items() if audio is not None}
    assert {name for name in CORPUS if name.startswith("tone.")} <= readable
    assert all(audio.duration_s <= 0.3 for audio in found.values() if audio is not None)


async def test_mutated_files_are_decoded_or_refused(decoder: AudioDecoder) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)  # noqa: S311 - examples
    files = sorted(CORPUS.items())
    examples = [mutate(chance.choice(files)[1], chance) for _ in range(MUTATIONS)]
    found = await asyncio.gather(*(read_audio(decoder, example) for example in examples))
    assert any(found)
    assert not all(found)


async def test_bombs_cost_this_process_no_memory_and_no_time(decoder: AudioDecoder) -> None:
    bomb = make_mp4(50_000_000)
    await read_audio(decoder, CORPUS["tone.flac"])
    before_mib, cpu_s = _peak_mib(), time.process_time()
    assert await asyncio.gather(*(read_audio(decoder, bomb) for _ in range(4))) == [None] * 4
    assert _peak_mib() - before_mib < 64
    assert time.process_time() - cpu_s < 0.5  # 2 s each when decoded here


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak_kib = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(peak_kib) / 1024


def test_wav_is_not_searched_for_ever() -> None:
    sound = ((b"fmt ", make_wav_format()), (b"data", bytes(320)))
    usual = make_wav(*[(b"LIST", b"")] * (wav.MAX_CHUNKS - 2), *sound)
    assert wav.parse(usual, max_s=1).duration_s == pytest.approx(0.01)
    endless = make_wav(*[(b"junk", b"")] * wav.MAX_CHUNKS, *sound)
    with pytest.raises(InvalidAudio, match=f"first {wav.MAX_CHUNKS} chunks"):
        wav.parse(endless, max_s=1)


# ---- the limits of a child ----


class ReplaceDecoding(Protocol):
    def __call__(self, code: str, **limits: int) -> None: ...


@pytest.fixture
def replace_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReplaceDecoding:
    """Return a function that replaces what a child does by Python code."""

    def replace(code: str, **limits: int) -> None:
        program = tmp_path / "program.py"
        lines = [
            "import os, resource, socket, sys",
            f"sys.path.insert(0, {str(PROGRAM_FOLDER)!r})",
            "import decoder_process",
            *(f"decoder_process.LIMITS[resource.{key}] = {value}" for key, value in limits.items()),
            "def decode(content, container_name, max_s):",
            "    if container_name != 'wav':",
            f"        {code}",
            "decoder_process.decode = decode",
            "decoder_process.serve_sockets(socket.socket(fileno=int(sys.argv[1])))",
        ]
        program.write_text("\n".join(lines), encoding="utf-8")
        monkeypatch.setattr(decode, "_PROGRAM", program)

    return replace


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        ("while True: pass", {"RLIMIT_CPU": 1}),
        ("bytearray(2**30)", {}),
        ("os.abort()", {}),
    ],
)
async def test_child_at_its_limits_is_a_refusal(
    decoder: AudioDecoder, replace_decoding: ReplaceDecoding, code: str, limits: dict[str, int]
) -> None:
    replace_decoding(code, **limits)
    with pytest.raises(InvalidAudio, match=TOO_COSTLY):
        await decoder.decode(CORPUS["tone.flac"])


async def test_child_opens_nothing_and_knows_no_environment(
    decoder: AudioDecoder, replace_decoding: ReplaceDecoding
) -> None:
    outcomes = {
        "open('/etc/hostname')": TOO_COSTLY,
        "socket.socket()": TOO_COSTLY,
        "os.pipe()": TOO_COSTLY,
        "os.environ.get('PATH')": "None",
        "open('/proc/self/status')": TOO_COSTLY,
    }
    for attempt, outcome in outcomes.items():
        replace_decoding(f"raise decoder_process.Refused(repr({attempt}))")
        with pytest.raises(InvalidAudio, match=outcome):
            await decoder.decode(CORPUS["tone.flac"])
        await decoder.aclose()


async def test_only_two_children_run_at_once(
    decoder: AudioDecoder, replace_decoding: ReplaceDecoding
) -> None:
    replace_decoding("import signal; signal.pause()")
    running = [asyncio.create_task(decoder.decode(CORPUS["tone.flac"])) for _ in range(3)]
    await wait_until(lambda: decoder._process is not None)
    assert decoder._process is not None
    server = psutil.Process(decoder._process.pid)
    await wait_until(lambda: len(server.children()) == decode.MAX_CONCURRENT)
    assert decoder._children.locked()
    first = server.children()
    for child in first:
        child.kill()
    await wait_until(lambda: bool(set(server.children()) - set(first)))
    [third] = set(server.children()) - set(first)
    third.kill()
    results = await asyncio.gather(*running, return_exceptions=True)
    assert [type(result) for result in results] == [InvalidAudio] * 3


async def test_answer_is_bounded(decoder: AudioDecoder, replace_decoding: ReplaceDecoding) -> None:
    replace_decoding("return bytes(100 * 2**20)")
    audio = await decoder.decode(CORPUS["tone.flac"])
    assert len(audio.data) < 12 * MIB


async def test_fork_server_has_one_thread_and_reaps_its_children(decoder: AudioDecoder) -> None:
    """A fork with threads may deadlock, and their stacks would count against the limit."""
    for name in ("tone.mp3", "tone.webm"):
        assert await read_audio(decoder, CORPUS[name])
    assert decoder._process is not None
    process = psutil.Process(decoder._process.pid)
    assert process.num_threads() == 1
    await wait_until(lambda: not process.children())


async def test_fork_server_that_was_killed_starts_again(decoder: AudioDecoder) -> None:
    assert await read_audio(decoder, CORPUS["tone.mp3"])
    assert decoder._process is not None
    decoder._process.kill()
    await decoder._process.wait()
    assert await read_audio(decoder, CORPUS["tone.mp3"])


async def test_fork_server_that_cannot_start_is_an_outage(
    decoder: AudioDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_PROGRAM", tmp_path / "missing.py")
    with pytest.raises(DependencyDown, match="audio decoder"):
        await decoder.decode(CORPUS["tone.flac"])
