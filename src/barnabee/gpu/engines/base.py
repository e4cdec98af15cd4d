"""Protocols of the inference engines, types of their results, and their compute device.

Methods block and are called from one thread at a time, never from the event loop. Long work is an
iterator: between two items the engine is free for other requests. An engine that runs out of memory
raises its library's error, which `oom_retry.is_out_of_memory` recognises.

One device serves the whole service (BARNABEE_DEVICE).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import httpx
import numpy as np
from numpy.typing import NDArray

from barnabee.audio.samples import Samples
from barnabee.core.errors import Misconfigured

WAKE_FRAME_SAMPLES = 1280  # 80 ms at 16 kHz: the input of wake word engines
CUDA_PROVIDER = "CUDAExecutionProvider"
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word with its time and confidence (0 to 1)."""

    start_s: float
    end_s: float
    text: str  # with a leading blank, so that words concatenate to the text
    confidence: float


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of recognised speech; `words` is empty unless requested."""

    start_s: float
    end_s: float
    text: str
    average_log_probability: float
    no_speech_probability: float
    words: tuple[Word, ...] = ()

    @property
    def confidence(self) -> float:
        """Geometric mean of the tokens' probabilities, 0 to 1."""
        return min(1.0, math.exp(self.average_log_probability))


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of the texts, (n, dimensions) with rows of length 1, and the tokens read of each."""

    vectors: NDArray[np.float32]
    tokens: tuple[int, ...]


class Engine(Protocol):
    """Methods of every engine."""

    def warm_up(self) -> None:
        """Run one small inference; raises when the engine does not work."""

    def close(self) -> None:
        """Release all memory; no method is called afterwards.

        An engine that raises here stays usable: the unload was refused.
        """


class SpeechToText(Engine, Protocol):
    """Speech recognition."""

    @property
    def languages(self) -> frozenset[str]:
        """Supported language codes (ISO 639-1)."""

    def transcribe(
        self, samples: Samples, *, language: str, words: bool = False
    ) -> Iterator[Segment]:
        """Yield the segments of 16 kHz audio; `words` asks for the time of each word."""


class TextToSpeech(Engine, Protocol):
    """Speech synthesis."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the samples that `speak` yields."""

    @property
    def voices(self) -> Sequence[str]:
        """Names that `speak` accepts, the default voice first."""

    def speak(self, text: str, *, voice: str, speed: float) -> Iterator[Samples]:
        """Yield the audio of `text`, one phrase at a time; `speed` 1.0 is normal.

        Raises BadRequest when the text has nothing to pronounce.
        """


class TextEmbedder(Engine, Protocol):
    """Sentence embedding; the dot product of two vectors is their similarity."""

    @property
    def dimensions(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one vector for each text, the same in any batch (cosine >= 0.999)."""


class LanguageModel(Engine, Protocol):
    """Chat model in a server of its own, which has OpenAI's API."""

    @property
    def client(self) -> httpx.AsyncClient:
        """Client of the server, for the event loop."""


class WakeWordStream(Protocol):
    """Recent audio of one microphone, scored frame by frame."""

    def score_frame(self, frame: NDArray[np.int16]) -> Mapping[str, float]:
        """Take the next (1280,) samples at 16 kHz; return each word's score, 0 to 1."""


class WakeWordEngine(Engine, Protocol):
    """Wake word detection for any number of streams."""

    @property
    def words(self) -> Sequence[str]:
        """Supported wake words."""

    def open_stream(self, words: Sequence[str]) -> WakeWordStream:
        """Return a new stream that scores `words`, all of them supported."""


@dataclass(frozen=True, slots=True)
class Device:
    """Processor an engine runs on."""

    kind: Literal["cpu", "cuda"] = "cpu"
    threads: int = 1  # CPU threads of one engine
    index: int = 0  # of the GPU, among those that CUDA sees
    gpu: str = "0"  # for NVML, which sees all: number or UUID


def open_session(path: Path, *, device: Device, weights: Path | None = None) -> Any:
    """Return an onnxruntime session for a verified model file.

    `weights` is the folder of the external weights, if not the model's own.
    """
    import onnxruntime as ort  # noqa: PLC0415 - heavy

    options = make_session_options(device)
    model: str | bytes = str(path)
    if weights is not None:
        options.add_session_config_entry(WEIGHTS_FOLDER, str(weights))
        model = path.read_bytes()  # the setting applies to models in memory only
    session = ort.InferenceSession(model, options, providers=select_providers(device))
    require_cuda(session, device)
    return session


def make_session_options(device: Device) -> Any:
    """Return onnxruntime options for an engine that shares the CPU with others."""
    import onnxruntime as ort  # noqa: PLC0415 - heavy

    options = ort.SessionOptions()
    options.intra_op_num_threads = device.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin between two operations take the cores from the other engines.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def select_providers(device: Device) -> list[Any]:
    """Return onnxruntime's execution providers; Misconfigured when it was built without CUDA."""
    if device.kind == "cpu":
        return ["CPUExecutionProvider"]
    import onnxruntime as ort  # noqa: PLC0415 - heavy

    if CUDA_PROVIDER not in ort.get_available_providers():
        what = (
            "BARNABEE_DEVICE=cuda needs onnxruntime with CUDA, this one has none: "
            "install onnxruntime-gpu in its place"
        )
        raise Misconfigured(what=what)
    ort.preload_dlls()  # cuDNN and cuBLAS from the packages that torch depends on, if installed
    settings = {
        "device_id": device.index,
        # The default doubles the arena whenever it grows: twice the memory that was reserved.
        "arena_extend_strategy": "kSameAsRequested",
        # The default benchmarks every algorithm for every new input length.
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    return [(CUDA_PROVIDER, settings), "CPUExecutionProvider"]


def require_cuda(session: Any, device: Device) -> None:
    """Raise Misconfigured when onnxruntime fell back to the CPU."""
    if device.kind == "cuda" and session.get_providers()[0] != CUDA_PROVIDER:
        what = (
            "onnxruntime could not open the GPU and used the CPU: its log says which library of "
            "CUDA 12 or cuDNN 9 is missing; install it, or set BARNABEE_DEVICE=cpu"
        )
        raise Misconfigured(what=what)


def open_torch(device: Device) -> Any:
    """Return the `torch.device`; Misconfigured when torch is not installed or finds no GPU."""
    try:
        import torch  # noqa: PLC0415 - heavy, and needed on a GPU only
    except ImportError as error:
        what = f"BARNABEE_DEVICE=cuda needs torch ({error}): install the extra `gpu`"
        raise Misconfigured(what=what) from error
    if device.kind == "cpu":  # in tests
        torch.set_num_threads(device.threads)
        return torch.device("cpu")
    if torch.cuda.device_count() <= device.index:
        what = (
            "BARNABEE_DEVICE=cuda needs an NVIDIA GPU that torch can open, there is none: "
            "install the driver, or set BARNABEE_DEVICE=cpu"
        )
        raise Misconfigured(what=what)
    return torch.device("cuda", device.index)
