"""The small language model of `up --llm`: SmolLM2 with llama.cpp's server, in the gpu service.

Both are fetched like the speech models. Measured on 2 busy cores: loaded in 0.7 s, 500 tokens/s
read and 67 written.
"""

from __future__ import annotations

import platform
from pathlib import Path

from barnabee.core import system
from barnabee.core.errors import SetupFailed

MODEL, SERVER = "smollm2-135m", "llama-server"
FOLDERS = (MODEL, SERVER)
_PROCESSORS = frozenset({"x86_64", "AMD64"})
# 418 MiB measured on a CPU, with a context of 8192 tokens.
TABLE = f"""
[model.llm]
task = "llm"
engine = "llama-server"
vram_reserved_mib = 0
vram_peak_mib = 1024
cpu_peak_mib = 640
priority = 9
preload = false
reload_cost_ms = 3000
lease_limit_ms = 60000
cpu_files = "{MODEL}"
cuda_files = "{MODEL}"
"""


def require_processor(machine: str | None = None, cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Raise SetupFailed where there is no server for the processor."""
    found = machine or platform.machine()
    if found in _PROCESSORS:
        if "avx2" in cpuinfo.read_text("utf-8", "replace").split():
            return
        found += " without AVX2"
    hint = "set LLM_URL and LLM_MODEL to a server of your own (docs/guides/language-model.md)"
    reason = f"its server is built for x86_64 with AVX2, and this is {found}"
    raise SetupFailed(what="the small language model", reason=reason, hint=hint)


def write_system_file(file: Path, directory: Path) -> Path:
    """Return a copy of the system file in `directory` with the model; `file` if it has its own."""
    if any(model.task == "llm" for model in system.load_system(file).model.values()):
        return file
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy = directory / "system-with-llm.toml"
    copy.write_text(file.read_text(encoding="utf-8") + TABLE, encoding="utf-8")
    return copy


def make_settings(models: Path) -> dict[str, str]:
    """Return the variables of core.settings with which the api and the gpu service use it."""
    program = models / SERVER / "llama-server"
    return {"LLM_PROVIDER": "gpu", "LLM_MODEL": "local", "BARNABEE_LLAMA_SERVER": str(program)}
