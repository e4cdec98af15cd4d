"""Speech to text with Whisper through faster-whisper: int8 on a CPU, float16 on a card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from barnabee.core import manifest
from barnabee.core.errors import Misconfigured
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.protocols import STT_RATE_HZ, Samples, Segment, Word
from barnabee.gpu.engines.windows import silent

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

# Greedy first and one retry: the library's six temperatures make noise take six times as long.
TEMPERATURES = [0.0, 0.4]
# Nobody says more: about 4 tokens a second are spoken; noise would be decoded to the last of 448.
TOKENS_PER_S, TOKENS_AT_LEAST = 10, 24
# The encoder reads 30 s however short the sound is, and that is nearly all of the time. Giving it
# only the sound and 6 s of padding took a third, but "turn on the kitchen light" of one recording
# became "turn turn turn": a model trained on 30 s needs 30 s.
WINDOW_S = 30
FRAMES_PER_S = 100


class Whisper:
    """One loaded Whisper model."""

    def __init__(self, model: WhisperModel) -> None:
        """Take a loaded model; use `load`."""
        self._model = model
        self._languages = frozenset(model.supported_languages)

    @classmethod
    def load(cls, directory: Path, *, device: Device) -> Whisper:
        """Verify and load the folder.

        Raises ModelMissing or ModelDamaged when it is not whole, Misconfigured without a card.
        """
        _require_card(device)
        manifest.verify(directory)
        from faster_whisper import WhisperModel  # noqa: PLC0415 - heavy

        return cls(
            WhisperModel(
                str(directory),
                device=device.kind,
                device_index=device.index,
                compute_type="int8" if device.kind == "cpu" else "float16",
                cpu_threads=device.threads,
                local_files_only=True,
            )
        )

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
        duration_s = min(len(samples) / STT_RATE_HZ, WINDOW_S)
        segments, _ = self._model.transcribe(
            samples,
            language=language,
            temperature=TEMPERATURES,
            max_new_tokens=TOKENS_AT_LEAST + int(duration_s * TOKENS_PER_S),
            word_timestamps=words,
            condition_on_previous_text=False,  # one misheard stretch must not bend the next
        )
        for one in segments:
            said = tuple(
                Word(word.start, word.end, word.word, word.probability) for word in one.words or ()
            )
            yield Segment(one.start, one.end, one.text, one.avg_logprob, one.no_speech_prob, said)


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
