"""Speech to text with Whisper through faster-whisper: int8 on a CPU, float16 on a card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from barnabee.core import manifest
from barnabee.core.errors import Misconfigured
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.protocols import STT_RATE_HZ, Samples, Segment, Word
from barnabee.gpu.engines.windows import silent

if TYPE_CHECKING:
    from barnabee.gpu.engines.whisper_window import WindowedModel

# Greedy first and one retry: the library's six temperatures make noise take six times as long.
TEMPERATURES = [0.0, 0.4]
# Nobody says more: about 4 tokens a second are spoken; noise would be decoded to the last of 448.
TOKENS_PER_S, TOKENS_AT_LEAST = 10, 24
WINDOW_S = 30
# The encoder reads 30 s however short the sound is, and on a CPU that is four fifths of the time.
# Of a short sound it is given less: the sound, so much of nothing after it, and not less than this.
# A model trained on 30 s may trip over that ("turn turn turn"): what it then doubts is heard again,
# whole. docs/reference/gpu.md has how often, and how many words it costs.
REST_S, SHORTEST_S = 5, 15
# What the library itself calls a failure: text that repeats itself, tokens it did not believe.
COMPRESSION_MOST, LOG_PROBABILITY_LEAST = 2.4, -1.0
FRAMES_PER_S = 100


class Whisper:
    """One loaded Whisper model."""

    def __init__(self, model: WindowedModel, *, short: bool) -> None:
        """Take a loaded model; use `load`. `short`: give the encoder no more than it needs."""
        self._model = model
        self._short = short
        self._languages = frozenset(model.supported_languages)

    @classmethod
    def load(cls, directory: Path, *, device: Device) -> Whisper:
        """Verify and load the folder.

        Raises ModelMissing or ModelDamaged when it is not whole, Misconfigured without a card.
        """
        _require_card(device)
        manifest.verify(directory)
        from barnabee.gpu.engines.whisper_window import WindowedModel  # noqa: PLC0415 - heavy

        on_cpu = device.kind == "cpu"
        model = WindowedModel(
            str(directory),
            device=device.kind,
            device_index=device.index,
            compute_type="int8" if on_cpu else "float16",
            cpu_threads=device.threads,
            local_files_only=True,
        )
        return cls(model, short=on_cpu)  # a card reads 30 s in no time

    @property
    def languages(self) -> frozenset[str]:
        """Return the language codes it knows."""
        return self._languages

    def warm_up(self) -> None:
        """Run encoder and decoder once, on one second: all 30 would cost 4 s of processor time."""
        noise = np.random.default_rng(0).normal(0, 0.01, STT_RATE_HZ).astype(np.float32)
        features = self._model.feature_extractor(noise)[:, :FRAMES_PER_S]
        encoded = self._model.encode(np.ascontiguousarray(features))
        begin = self._model.hf_tokenizer.token_to_id("<|startoftranscript|>")
        self._model.model.generate(encoded, [[begin]], max_length=4)

    def close(self) -> None:
        """Let go of the model."""
        self._model.model.unload_model()

    def transcribe(
        self, samples: Samples, *, language: str, words: bool = False
    ) -> Iterator[Segment]:
        """Yield what is said in `samples` (16 kHz)."""
        if silent(samples):
            return
        duration_s = len(samples) / STT_RATE_HZ
        window_s = window_for(duration_s) if self._short else WINDOW_S
        found: Iterable[Any] = self._decode(samples, language, words, window_s)
        if window_s < WINDOW_S:
            found = list(found)
            if any(map(doubtful, found)):
                found = self._decode(samples, language, words, WINDOW_S)
        for one in found:
            said = tuple(
                Word(word.start, word.end, word.word, word.probability) for word in one.words or ()
            )
            yield Segment(one.start, one.end, one.text, one.avg_logprob, one.no_speech_prob, said)

    def _decode(
        self, samples: Samples, language: str, words: bool, window_s: float
    ) -> Iterator[Any]:
        self._model.frames = int(window_s * FRAMES_PER_S)
        duration_s = min(len(samples) / STT_RATE_HZ, WINDOW_S)
        segments, _ = self._model.transcribe(
            samples,
            language=language,
            temperature=TEMPERATURES,
            max_new_tokens=TOKENS_AT_LEAST + int(duration_s * TOKENS_PER_S),
            word_timestamps=words,
            condition_on_previous_text=False,  # one misheard stretch must not bend the next
        )
        yield from segments


def window_for(duration_s: float) -> float:
    """Return how many seconds the encoder is given of a sound so long. Pure."""
    return min(float(WINDOW_S), max(float(SHORTEST_S), duration_s + REST_S))


def doubtful(segment: Any) -> bool:
    """Return whether what was heard should be heard again with the whole window. Pure."""
    return bool(
        segment.compression_ratio > COMPRESSION_MOST or segment.avg_logprob < LOG_PROBABILITY_LEAST
    )


def _require_card(device: Device) -> None:
    if device.kind == "cpu":
        return
    import ctranslate2  # noqa: PLC0415 - heavy

    if ctranslate2.get_cuda_device_count() <= device.index:
        what = (
            "BARNABEE_DEVICE=cuda needs an NVIDIA card that CTranslate2 can open, there is none: "
            "install the driver (and CUDA 12), or set BARNABEE_DEVICE=cpu"
        )
        raise Misconfigured(what=what)
