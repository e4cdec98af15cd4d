"""Whisper speech-to-text engine through faster-whisper: int8 on a CPU, float16 on a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnabee.audio.samples import STT_RATE_HZ, Samples, is_silent
from barnabee.core import manifest
from barnabee.core.errors import Misconfigured
from barnabee.gpu.engines.base import Device, Segment, Word

# Greedy first and one retry: with the library's six temperatures noise takes six times as long.
TEMPERATURES = [0.0, 0.4]
# About 4 tokens a second are spoken; without a limit, noise is decoded to the maximum of 448.
TOKENS_PER_S, MIN_TOKENS = 10, 24
WINDOW_S = 30
# The encoder takes 30 s for any audio, on a CPU four fifths of the time. Short audio gets a shorter
# window: its length and some padding, at least MIN_WINDOW_S. The model was trained on 30 s and may
# then repeat itself ("turn turn turn"): a doubtful result is decoded again with the full window.
# Speech at its very beginning is lost ("No wait, the bedroom light" becomes "No"), so silence goes
# before it. docs/reference/gpu.md has the frequency and the effect on word errors.
PADDING_S, MIN_WINDOW_S = 5, 15
LEAD_S = 0.6
# The library's own criteria of a failed decoding: repetitive text, improbable tokens.
MAX_COMPRESSION_RATIO, MIN_LOG_PROBABILITY = 2.4, -1.0
FRAMES_PER_S = 100


class Whisper:
    """A loaded Whisper model."""

    def __init__(self, model: Any, *, short_windows: bool) -> None:
        """Take a windowed model; use `load`. `short_windows` shortens the encoder's input."""
        self._model = model
        self._short_windows = short_windows
        self._languages = frozenset(model.supported_languages)

    @classmethod
    def load(cls, directory: Path, *, device: Device, compute_type: str = "") -> Whisper:
        """Verify and load a model folder; `compute_type` of CTranslate2, empty for the default.

        Raises ModelMissing, ModelDamaged, or Misconfigured when there is no GPU.
        """
        _require_gpu(device)
        manifest.verify_directory(directory)
        on_cpu = device.kind == "cpu"
        model = _make_windowed_class()(
            str(directory),
            device=device.kind,
            device_index=device.index,
            compute_type=compute_type or ("int8" if on_cpu else "float16"),
            cpu_threads=device.threads,
            local_files_only=True,
        )
        return cls(model, short_windows=on_cpu)  # on a GPU 30 s take next to no time

    @property
    def languages(self) -> frozenset[str]:
        return self._languages

    def warm_up(self) -> None:
        """Run encoder and decoder once on 1 s of noise; 30 s would take 4 s of CPU time."""
        noise = np.random.default_rng(0).normal(0, 0.01, STT_RATE_HZ).astype(np.float32)
        features = self._model.feature_extractor(noise)[:, :FRAMES_PER_S]
        encoded = self._model.encode(np.ascontiguousarray(features))
        begin = self._model.hf_tokenizer.token_to_id("<|startoftranscript|>")
        self._model.model.generate(encoded, [[begin]], max_length=4)

    def close(self) -> None:
        self._model.model.unload_model()

    def transcribe(
        self, samples: Samples, *, language: str, words: bool = False
    ) -> Iterator[Segment]:
        if is_silent(samples):
            return
        duration_s = len(samples) / STT_RATE_HZ
        window_s = choose_window_s(LEAD_S + duration_s) if self._short_windows else WINDOW_S
        lead_s = LEAD_S if window_s < WINDOW_S else 0.0
        samples = np.pad(samples, (int(lead_s * STT_RATE_HZ), 0))
        segments: Iterable[Any] = self._decode(samples, language, words, window_s)
        if window_s < WINDOW_S:
            segments = list(segments)
            if any(map(is_doubtful, segments)):
                segments = self._decode(samples, language, words, WINDOW_S)
        for one in segments:
            yield _make_segment(one, lead_s)

    def _decode(
        self, samples: Samples, language: str, words: bool, window_s: float
    ) -> Iterator[Any]:
        self._model.frames = int(window_s * FRAMES_PER_S)
        duration_s = min(len(samples) / STT_RATE_HZ, WINDOW_S)
        segments, _ = self._model.transcribe(
            samples,
            language=language,
            temperature=TEMPERATURES,
            max_new_tokens=MIN_TOKENS + int(duration_s * TOKENS_PER_S),
            word_timestamps=words,
            condition_on_previous_text=False,  # an error must not influence later windows
        )
        yield from segments


def choose_window_s(duration_s: float) -> float:
    """Return the encoder's window for audio of this duration. Pure."""
    return min(float(WINDOW_S), max(float(MIN_WINDOW_S), duration_s + PADDING_S))


def _make_segment(segment: Any, lead_s: float) -> Segment:
    """Return the library's segment with its times from the end of the lead."""

    def shift(time_s: float) -> float:
        return max(0.0, time_s - lead_s)

    words = tuple(
        Word(shift(word.start), shift(word.end), word.word, word.probability)
        for word in segment.words or ()
    )
    start_s, end_s = shift(segment.start), shift(segment.end)
    return Segment(start_s, end_s, segment.text, segment.avg_logprob, segment.no_speech_prob, words)


def is_doubtful(segment: Any) -> bool:
    """Return whether a segment should be decoded again with the full window. Pure."""
    return bool(
        segment.compression_ratio > MAX_COMPRESSION_RATIO
        or segment.avg_logprob < MIN_LOG_PROBABILITY
    )


def _make_windowed_class() -> Any:
    from faster_whisper import WhisperModel  # noqa: PLC0415 - heavy

    class WindowedModel(WhisperModel):  # type: ignore[misc] # faster-whisper has no types
        """Whisper model that encodes only the first `frames` (of 10 ms) of each window."""

        frames = WINDOW_S * FRAMES_PER_S

        def encode(self, features: NDArray[np.float32]) -> Any:
            """Encode (mel bands, frames) or (batch, mel bands, frames)."""
            return super().encode(np.ascontiguousarray(features[..., : self.frames]))

    return WindowedModel


def _require_gpu(device: Device) -> None:
    if device.kind == "cpu":
        return
    import ctranslate2  # noqa: PLC0415 - heavy

    if ctranslate2.get_cuda_device_count() <= device.index:
        what = (
            "BARNABEE_DEVICE=cuda needs an NVIDIA GPU that CTranslate2 can open, there is none: "
            "install the driver (and CUDA 12), or set BARNABEE_DEVICE=cpu"
        )
        raise Misconfigured(what=what)
