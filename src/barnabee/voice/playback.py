"""Playback queue of synthesized speech, and detection of its echo in the microphone.

The transport holds at most two chunks, so that a reply stops within 80 ms of a barge-in and the
text that was played until then is known. `stages/tts.py` moves the chunks.

A microphone without echo cancellation picks up the loudspeaker. Each window is correlated with the
recent playback; the result is the share of its energy that the best match in time and level
explains. It falls when a person speaks at the same time.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from barnabee.audio.samples import Samples

AudioSource = Literal["chime", "filler", "reply"]
CHUNK_MS = 40
MAX_CHUNKS_AHEAD = 2  # with the transport: the one being played, and the next
RING_NOTE_S, RING_PAUSE_S = 0.18, 0.25
RING_AMPLITUDES = (0.15, 0.35, 0.8)  # by loudness
TYPICAL_CHARS_PER_S = 14.0  # measured for the default voice; used until a segment is complete
_SENTENCE_END = re.compile(r"(?:(?<=[.!?…])|(?<=[.!?…][\"')\]]))\s+")
RATE_HZ = 16_000
# From handing audio to the transport to recording it: network, player buffer and room acoustics.
MAX_DELAY_SAMPLES = int(0.8 * RATE_HZ)
ECHO_WINDOW_SAMPLES = 2048  # 128 ms: unrelated speech then matches with a share below 0.15
SILENCE_POWER = 1e-6  # mean square


@dataclass(frozen=True, slots=True)
class Chunk:
    """40 ms of 16-bit mono PCM and what it belongs to."""

    pcm: bytes
    source: AudioSource
    segment: ReplySegment | None = None


class PlaybackQueue:
    """Queue of one room's loudspeaker. Not thread-safe: used from the room's event loop."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.chunk_bytes = rate_hz * CHUNK_MS // 1000 * 2
        self.is_paused = False
        self._waiting: deque[Chunk] = deque()
        self._sent: deque[Chunk] = deque()  # held by the transport
        self._partial = b""  # less than a chunk

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._sent

    @property
    def is_transport_empty(self) -> bool:
        return not self._sent

    def has_audio(self, source: AudioSource) -> bool:
        """Return whether audio of `source` has not been played yet."""
        return any(chunk.source == source for chunk in (*self._sent, *self._waiting))

    def enqueue(self, source: AudioSource, pcm: bytes, segment: ReplySegment | None = None) -> None:
        """Append 16-bit mono PCM; a remainder shorter than a chunk waits for `finish`."""
        if segment is not None:
            segment.synthesized_s += len(pcm) / 2 / self.rate_hz
        self._partial += pcm
        whole = len(self._partial) // self.chunk_bytes * self.chunk_bytes
        for start in range(0, whole, self.chunk_bytes):
            part = self._partial[start : start + self.chunk_bytes]
            self._waiting.append(Chunk(part, source, segment))
        self._partial = self._partial[whole:]

    def finish(self, source: AudioSource, segment: ReplySegment | None = None) -> None:
        """Complete the segment; pad the remainder with silence."""
        if segment is not None:
            segment.is_complete = True
        if self._partial:
            padded = self._partial.ljust(self.chunk_bytes, b"\0")
            self._waiting.append(Chunk(padded, source, segment))
            self._partial = b""

    def next_chunk(self) -> Chunk | None:
        """Return the next chunk, or None while the transport holds `MAX_CHUNKS_AHEAD`."""
        if self.is_paused or not self._waiting or len(self._sent) >= MAX_CHUNKS_AHEAD:
            return None
        chunk = self._waiting.popleft()
        self._sent.append(chunk)
        return chunk

    def mark_played(self) -> Chunk | None:
        """Record that the oldest chunk of the transport is played; return it."""
        if not self._sent:
            return None  # it was cleared in between
        chunk = self._sent.popleft()
        if chunk.segment is not None:
            chunk.segment.played_s += len(chunk.pcm) / 2 / self.rate_hz
        return chunk

    def fade_out(self, source: AudioSource) -> None:
        """Replace the waiting chunks of `source` by one that fades to silence."""
        fading = [chunk for chunk in self._waiting if chunk.source == source]
        if not fading:
            return
        others = [chunk for chunk in self._waiting if chunk.source != source]
        self._waiting = deque([Chunk(fade_to_silence(fading[0].pcm), source), *others])

    def clear(self) -> None:
        """Drop all audio not yet played; the transport is interrupted separately."""
        self._waiting.clear()
        self._sent.clear()
        self._partial = b""
        self.is_paused = False


def fade_to_silence(pcm: bytes) -> bytes:
    """Return the samples with a linear fade to silence. Pure."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    return (samples * np.linspace(1, 0, len(samples), dtype=np.float32)).astype("<i2").tobytes()


def make_chime(rate_hz: int) -> bytes:
    """Return the wake chime: two soft notes of 80 ms. Pure."""
    notes = []
    for pitch_hz, length_s in ((660.0, 0.08), (880.0, 0.08)):
        time_s = np.arange(int(length_s * rate_hz)) / rate_hz
        notes.append(np.sin(2 * np.pi * pitch_hz * time_s) * np.sin(np.pi * time_s / length_s))
    return (np.concatenate(notes) * 0.12 * 32767).astype("<i2").tobytes()


def make_ring_chime(rate_hz: int, loudness: int) -> bytes:
    """Return the chime before a ring: three rising notes, more often and louder with `loudness`."""
    rising = []
    for pitch_hz in (784.0, 988.0, 1175.0):
        time_s = np.arange(int(RING_NOTE_S * rate_hz)) / rate_hz
        tone = np.sin(2 * np.pi * pitch_hz * time_s) + 0.3 * np.sin(4 * np.pi * pitch_hz * time_s)
        rising.append(tone * np.exp(-6 * time_s / RING_NOTE_S) * np.minimum(1, time_s / 0.005))
    pause = np.zeros(int(RING_PAUSE_S * rate_hz))
    once = np.concatenate([*rising, pause])
    amplitude = RING_AMPLITUDES[loudness] / 1.3
    return (np.tile(once, loudness + 1) * amplitude * 32767).astype("<i2").tobytes()


def strip_wake_word(text: str, wake_words: Sequence[str]) -> str:
    """Return a transcript without leading wake words; "" when nothing else was said. Pure."""
    text = text.strip()
    for name in wake_words:
        *first, last = (re.escape(part) for part in name.split("_"))
        optional = "".join(rf"(?:{part}\W+)?" for part in first)
        text = re.sub(rf"^\W*{optional}{last}(?:\W+|$)", "", text, count=1, flags=re.IGNORECASE)
    return text if any(map(str.isalnum, text)) else ""


def split_sentences(text: str) -> list[str]:
    """Split a reply into sentences; parts without a letter or digit are dropped. Pure."""
    parts = (part.strip() for part in _SENTENCE_END.split(text))
    return [part for part in parts if any(map(str.isalnum, part))]


@dataclass
class ReplySegment:
    """Sentence of a reply, with the durations of its synthesized and its played audio in s."""

    text: str
    synthesized_s: float = 0.0
    played_s: float = 0.0
    is_complete: bool = False  # all of its audio is synthesized

    def get_played_text(self) -> str:
        """Return the words played so far, estimated from the share of the duration."""
        if self.is_complete and self.played_s >= self.synthesized_s - 1e-6:
            return self.text
        duration_s = self.synthesized_s
        if not self.is_complete:
            duration_s = max(duration_s, len(self.text) / TYPICAL_CHARS_PER_S)
        if not self.played_s or not duration_s:
            return ""
        chars = int(len(self.text) * min(1.0, self.played_s / duration_s))
        if chars >= len(self.text) or self.text[chars].isspace():
            return self.text[:chars].rstrip()
        return self.text[:chars].rpartition(" ")[0].rstrip()  # drop a partial word


def join_played_text(segments: Sequence[ReplySegment]) -> str:
    """Return the part of a reply that was played."""
    return " ".join(filter(None, (segment.get_played_text() for segment in segments)))


class EchoDetector:
    """Recent playback and microphone audio of one room, at 16 kHz."""

    def __init__(self) -> None:
        self._played = np.zeros(MAX_DELAY_SAMPLES + ECHO_WINDOW_SAMPLES, np.float32)
        self._recorded = np.zeros(ECHO_WINDOW_SAMPLES, np.float32)
        self._age = (
            MAX_DELAY_SAMPLES + ECHO_WINDOW_SAMPLES
        )  # samples recorded since the last playback

    @property
    def is_echo_possible(self) -> bool:
        """Whether recent playback may still be audible."""
        return self._age < MAX_DELAY_SAMPLES + ECHO_WINDOW_SAMPLES

    def add_playback(self, samples: Samples) -> None:
        if not len(samples):
            return
        self._played = np.concatenate((self._played, samples))[
            -(MAX_DELAY_SAMPLES + ECHO_WINDOW_SAMPLES) :
        ]
        self._age = 0

    def add_recorded(self, samples: Samples) -> None:
        """Append microphone audio, which also serves as the clock."""
        self._recorded = np.concatenate((self._recorded, samples))[-ECHO_WINDOW_SAMPLES:]
        self._age += len(samples)

    def measure_share(self) -> float:
        """Return the share (0 to 1) of the energy of the last 128 ms that is echo."""
        return measure_echo_share(self._played, self._recorded) if self.is_echo_possible else 0.0


def measure_echo_share(played: Samples, recorded: Samples) -> float:
    """Return the share of the energy of `recorded` that its best match in `played` explains."""
    energy = float(recorded @ recorded)
    if energy < SILENCE_POWER * len(recorded) or float(played @ played) < SILENCE_POWER * len(
        played
    ):
        return 0.0
    size = 1 << (len(played) + len(recorded) - 1).bit_length()
    spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(recorded, size))
    matches = np.fft.irfft(spectrum, size)[: len(played) - len(recorded) + 1]
    sums = np.concatenate(([0.0], np.cumsum(np.square(played, dtype=np.float64))))
    energies = sums[len(recorded) :] - sums[: -len(recorded)]
    shares = np.square(matches) / np.maximum(energies * energy, 1e-12)
    shares[energies < SILENCE_POWER * len(recorded)] = 0.0
    return float(min(1.0, shares.max()))
