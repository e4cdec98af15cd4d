"""The small language model of `up --llm`: llama.cpp's server with SmolLM2, on the CPU.

Both are fetched like the speech models. Measured on 2 busy cores: ready after 0.7 s, 500 tokens/s
read and 67 written.
"""

from __future__ import annotations

import platform
from pathlib import Path

from barnabee.core.errors import SetupFailed

MODEL, SERVER = "smollm2-135m", "llama-server"
FOLDERS = (MODEL, SERVER)
CONTEXT_TOKENS = 8192  # what the model was trained with
_THREADS = 2
_PROCESSORS = frozenset({"x86_64", "AMD64"})


def require_processor(processor: str | None = None) -> None:
    """Raise SetupFailed where there is no server for the processor."""
    processor = processor or platform.machine()
    if processor not in _PROCESSORS:
        hint = "set LLM_URL and LLM_MODEL to a server of your own (docs/guides/language-model.md)"
        reason = f"its server is built for x86_64, and this is {processor}"
        raise SetupFailed(what="the small language model", reason=reason, hint=hint)


def make_settings(port: int) -> dict[str, str]:
    """Return the variables of core.settings with which the api uses it."""
    url = f"http://127.0.0.1:{port}/v1"
    return {"LLM_PROVIDER": "openai", "LLM_URL": url, "LLM_MODEL": MODEL}


def make_arguments(models: Path, port: int) -> tuple[str, ...]:
    """Return the command line of the server."""
    options = {
        "model": str(models / MODEL / "model.gguf"),
        "alias": MODEL,
        "host": "127.0.0.1",
        "port": str(port),
        "threads": str(_THREADS),
        "ctx-size": str(CONTEXT_TOKENS),
        "parallel": "1",
        "device": "none",
    }
    arguments = (text for key, value in options.items() for text in (f"--{key}", value))
    return (str(models / SERVER / "llama-server"), *arguments, "--jinja", "--no-ui")
