"""The sections of a run, the most telling first. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One process: `function` is module and name below `gpu`, `needs` are the doctor's words."""

    name: str
    function: str
    needs: tuple[str, ...]
    budget_s: float  # on a GPU; a slower section is stopped


DOCTOR_BUDGET_S = 60.0
WEIGHTS = "weights"
SMALL_PARAKEET = "parakeet-small"  # folder of its stand-in
SECTIONS = (
    Section(WEIGHTS, "weights:run", ("product",), 75),
    Section("NVML", "memory:run_nvml", ("product", "nvml"), 20),
    Section("MiniLM, torch", "engines:run_minilm", ("product", "minilm"), 45),
    Section("Kokoro, torch", "engines:run_kokoro", ("product", "kokoro"), 60),
    Section("Parakeet, onnxruntime", "engines:run_parakeet", ("product", "onnx_asr"), 30),
    Section("Whisper, float16", "engines:run_whisper", ("product", "whisper"), 40),
    Section("out of memory", "memory:run_exhaustion", ("product", "minilm", "nvml"), 60),
    Section("eviction", "eviction:run", ("product", "minilm", "nvml"), 60),
    Section("service", "service:run", ("product", "service", "nvml"), 120),
    Section("embeddings", "embeddings:run", ("product", "minilm"), 60),
    Section("Kokoro, onnxruntime", "engines:run_kokoro_onnx", ("product", "kokoro_onnx"), 45),
    Section("Whisper, int8", "engines:run_whisper_int8", ("product", "whisper"), 30),
    Section("MiniLM, onnxruntime", "engines:run_minilm_onnx", ("product", "onnxruntime"), 20),
    Section("wake word, CPU", "engines:run_wake_word", ("product",), 20),
)
