"""Pinned packages, the model files built from them, and the language model of `up --llm`.

Both are fetched like the speech models. Measured on 2 busy cores: loaded in 0.7 s, 500 tokens/s
read and 67 written.
"""

from __future__ import annotations

import platform
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from barnabee.core import system
from barnabee.core.errors import Misconfigured, SetupFailed
from barnabee.core.manifest import ManifestEntry
from barnabee.core.schema import TomlTable

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


Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class PyPiPackage(TomlTable):
    """A wheel; several hashes where each processor architecture has its own."""

    registry: Literal["pypi"]
    version: str
    size: int
    sha256: list[Sha256]


class NpmPackage(TomlTable):
    """An npm tarball with its subresource integrity."""

    registry: Literal["npm"]
    version: str
    size: int
    integrity: Annotated[str, Field(pattern="^sha512-")]


class ModelFile(TomlTable):
    """A file of a model: size and hash, and the package members or the URL it comes from."""

    size: int
    sha256: Sha256
    is_executable: bool = False
    build: Literal["join", "voices"] = "join"
    sources: list[str] = Field([], alias="from")
    url: Annotated[str, Field(pattern="^https?://")] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if bool(self.sources) == bool(self.url):
            message = "a file has either `from` or `url`"
            raise ValueError(message)
        return self

    @property
    def entry(self) -> ManifestEntry:
        return ManifestEntry(sha256=self.sha256, size=self.size)

    def members(self) -> list[tuple[str, str]]:
        """Return (package, member) of every source, in order."""
        return [
            (package, member) for package, _, member in (s.partition(":") for s in self.sources)
        ]


class PinnedModel(TomlTable):
    """One model directory."""

    summary: str
    licence: str
    file: dict[str, ModelFile]

    @property
    def entries(self) -> dict[str, ManifestEntry]:
        """The directory's manifest."""
        return {name: file.entry for name, file in self.file.items()}

    @property
    def packages(self) -> list[str]:
        """The names of the packages that it is built from, each once."""
        names = [package for file in self.file.values() for package, _ in file.members()]
        return list(dict.fromkeys(names))

    @property
    def urls(self) -> dict[str, str]:
        """The URL of every file that is downloaded as it is."""
        return {name: file.url for name, file in self.file.items() if file.url}


class Pins(TomlTable):
    """The content of models.toml."""

    schema_version: Literal[1] = Field(alias="schema")
    package: dict[str, Annotated[PyPiPackage | NpmPackage, Field(discriminator="registry")]]
    model: dict[str, PinnedModel]

    def wheels(self, model: str) -> dict[str, PyPiPackage]:
        """Return the PyPI packages of a model by name."""
        packages = {name: self.package[name] for name in self.model[model].packages}
        return {name: pin for name, pin in packages.items() if isinstance(pin, PyPiPackage)}

    def tarballs(self, model: str) -> dict[str, NpmPackage]:
        """Return the npm packages of a model by name."""
        packages = {name: self.package[name] for name in self.model[model].packages}
        return {name: pin for name, pin in packages.items() if isinstance(pin, NpmPackage)}

    def download_bytes(self, model: str) -> int:
        """Return the size of all packages and files that a model needs."""
        pinned = self.model[model]
        packages = sum(self.package[name].size for name in pinned.packages)
        return packages + sum(pinned.file[name].size for name in pinned.urls)


def format_requirements(packages: dict[str, PyPiPackage]) -> str:
    """Return the text of a requirements file for pip's hash-checking mode."""
    lines = (
        " ".join([f"{name}=={pin.version}", *(f"--hash=sha256:{digest}" for digest in pin.sha256)])
        for name, pin in packages.items()
    )
    return "".join(f"{line}\n" for line in lines)


def default_pins_path() -> Path:
    return Path(__file__).resolve().parents[3] / "pkgs" / "models" / "models.toml"


@cache
def load_pins(path: Path | None = None) -> Pins:
    """Read models.toml; Misconfigured with the reason when it is not usable."""
    path = path or default_pins_path()
    try:
        return Pins.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise Misconfigured(what=f"{path} is not usable: {error}") from error


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
