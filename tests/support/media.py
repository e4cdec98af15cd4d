"""Media files for fuzzing: usual ones, truncated ones, and some that are built to do harm.

`python -m support.media` (with PYTHONPATH=src:tests) writes them to `tests/data/media`.
"""

from __future__ import annotations

import struct
from pathlib import Path

from barnabee.audio import wav
from support.audio import FORMATS, encode_audio, make_tone

FOLDER = Path(__file__).parents[1] / "data" / "media"
MAX_BYTES = 8 * 1024
_RATE_HZ = 24_000


def make_mp4(sample_count: int, *, rate_hz: int = 16_000, codec: bytes = b"mp4a") -> bytes:
    """Return an MP4 whose index says that it has `sample_count` samples of one byte."""
    entry = struct.pack(">6xH8xHHHHI", 1, 1, 16, 0, 0, (rate_hz << 16) % 2**32)
    table = _box(
        b"stbl",
        _full_box(b"stsd", struct.pack(">I", 1), _box(codec, entry)),
        _full_box(b"stts", struct.pack(">III", 1, sample_count, 1024)),
        _full_box(b"stsc", struct.pack(">IIII", 1, 1, sample_count, 1)),
        _full_box(b"stsz", struct.pack(">II", 1, sample_count)),
        _full_box(b"stco", struct.pack(">II", 1, 40)),
    )
    data = _box(b"dinf", _full_box(b"dref", struct.pack(">I", 1), _full_box(b"url ", flags=1)))
    media = _box(
        b"mdia",
        _full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, rate_hz, rate_hz, 0x55C4, 0)),
        _full_box(b"hdlr", struct.pack(">4x4s12x2x", b"soun")),
        _box(b"minf", _full_box(b"smhd", bytes(4)), data, table),
    )
    track = _full_box(b"tkhd", struct.pack(">IIIII60x", 0, 0, 1, 0, 1000), flags=3)
    movie = _full_box(b"mvhd", struct.pack(">IIIII76xI", 0, 0, 1000, 1000, 0x10000, 2))
    start = _box(b"ftyp", struct.pack(">4sI8s", b"isom", 512, b"isommp41"))
    return start + _box(b"moov", movie, _box(b"trak", track, media)) + _box(b"mdat", bytes(4000))


def make_wav(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WAV file of these chunks."""
    body = b"".join(struct.pack("<4sI", name, len(data)) + data for name, data in chunks)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WAVE") + body


def make_wav_format(*, channels: int = 1, rate_hz: int = 16_000) -> bytes:
    """Return the `fmt ` chunk of 16-bit PCM."""
    size = 2 * channels
    return struct.pack("<HHIIHH", wav.PCM, channels, rate_hz, rate_hz * size % 2**32, size, 16)


def make_corpus() -> dict[str, bytes]:
    """Return all files by name; `tone.*` are valid."""
    tone = make_tone(0.2, _RATE_HZ)
    valid = {f"tone.{form}": encode_audio(form, tone, _RATE_HZ) for form in FORMATS}
    flac = valid["tone.flac"]  # without its padding
    valid["tone.flac"] = flac[:4] + b"\x80" + flac[5:42] + flac[flac.index(b"\xff\xf8", 42) :]
    valid["tone.wav"] = make_wav(
        (b"fmt ", make_wav_format(rate_hz=8_000)), (b"data", make_tone(0.2, 8_000).tobytes())
    )
    truncated = {f"truncated.{name[5:]}": file[: len(file) // 2] for name, file in valid.items()}
    return {**valid, **truncated, **_make_hostile_wavs(), **_make_hostile_containers(valid)}


def _make_hostile_wavs() -> dict[str, bytes]:
    sound = (b"data", bytes(320))
    header = wav.make_header(16_000)
    return {
        "empty_chunks.wav": make_wav(*[(b"junk", b"")] * 900),
        "no_channels.wav": make_wav((b"fmt ", make_wav_format(channels=0)), sound),
        "many_channels.wav": make_wav((b"fmt ", make_wav_format(channels=65_535 // 2)), sound),
        "rate_4_ghz.wav": make_wav((b"fmt ", make_wav_format(rate_hz=2**32 - 1)), sound),
        "huge_chunk.wav": header[:36] + struct.pack("<4sI", b"junk", 2**32 - 1) + bytes(99),
        "rf64.wav": b"RF64" + header[4:] + bytes(320),
    }


def _make_hostile_containers(valid: dict[str, bytes]) -> dict[str, bytes]:
    nested = b""
    for number in range(900):
        nested = _box((b"trak", b"mdia", b"minf", b"stbl", b"udta")[number % 5], nested)
    flac, ogg, webm = valid["tone.flac"], valid["tone.ogg"], valid["tone.webm"]
    return {
        "stsz_count.mp4": make_mp4(50_000_000),
        "stsz_count_4_g.mp4": make_mp4(2**32 - 1),
        "nested_boxes.mp4": valid["tone.m4a"][:32] + _box(b"moov", nested),
        "endless_box.mp4": struct.pack(">I4sIIQ4s", 16, b"ftyp", 0, 0, 2**63, b"moov") + bytes(99),
        "rate_0.mp4": make_mp4(10, rate_hz=0),
        "rate_1_hz.mp4": make_mp4(4000, rate_hz=1, codec=b"sowt"),
        "rate_0.flac": flac[:18] + b"\0\0\x0f" + flac[21:],
        "many_channels.flac": flac[:20] + b"\xff" + flac[21:],
        "id3_256_mib.mp3": b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(200) + valid["tone.mp3"][:2000],
        "no_channels.webm": webm.replace(b"OpusHead\1\1", b"OpusHead\1\0", 1),
        "many_channels.webm": webm.replace(b"OpusHead\1\1", b"OpusHead\1\xff", 1),
        "empty_pages.ogg": (ogg[:27] + b"\0") * 200,
        "unknown_sizes.webm": b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 7 + b"\x18\x53\x80\x67\xff" * 900,
        "rate_0.webm": webm.replace(struct.pack(">f", 48_000.0), bytes(4)),
        "no_end.aac": valid["tone.aac"][:7] * 700,
    }


def _box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, name) + body


def _full_box(name: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(name, struct.pack(">I", flags), *parts)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in make_corpus().items():
        (FOLDER / name).write_bytes(content)
