"""The system file `system.toml`: finding, parsing and validating it.

No other module opens that file.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from barnabee.core import graph, renamed
from barnabee.core.errors import SystemFileInvalid
from barnabee.core.schema import System
from barnabee.core.settings import read_variable

__all__ = ["Problem", "System", "find_system_file", "get_system", "load_system", "parse_system"]


@dataclass(frozen=True)
class Problem:
    """One error in the system file: its place and the remedy."""

    file: str
    key: str
    remedy: str

    def __str__(self) -> str:
        """Return `file: key: remedy`."""
        return f"{self.file}: {self.key}: {self.remedy}"


def find_system_file() -> Path:
    """Return `$BARNABEE_SYSTEM`, or the file in the checkout or beside the installed package."""
    configured = read_variable("BARNABEE_SYSTEM")
    if configured:
        return Path(configured)
    here = Path(__file__).resolve()
    checkout = here.parents[3] / "system.toml"
    return checkout if checkout.is_file() else here.parents[2] / "system.toml"


def parse_system(text: str, file: str = "system.toml") -> System | list[Problem]:
    """Return the validated system, or every problem of `text`.

    Renamed and removed keys are accepted, with a warning (`core.renamed`).
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [Problem(file, "syntax", f"{error}; fix the TOML there")]
    renamed.accept_old_system_keys(data)
    try:
        system = System.model_validate(data)
    except ValidationError as error:
        return [_explain(file, dict(detail)) for detail in error.errors()]
    problems = [Problem(file, key, remedy) for key, remedy in graph.find_problems(system)]
    return problems or system


def load_system(path: Path | None = None) -> System:
    """Read and validate the file; SystemFileInvalid lists every problem."""
    path = path or find_system_file()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(str(path), "file", f"cannot be read ({error}); set BARNABEE_SYSTEM")
        raise SystemFileInvalid(problems=problem) from error
    result = parse_system(text, str(path))
    if isinstance(result, System):
        return result
    raise SystemFileInvalid(problems=" | ".join(map(str, result)))


@cache
def get_system() -> System:
    """Return the system of this process, read once."""
    return load_system()


_REMEDIES = {
    "extra_forbidden": "is not a known key; remove it or check its spelling",
    "missing": "is missing; add it",
}


def _explain(file: str, detail: dict[str, object]) -> Problem:
    location = detail["loc"]
    parts = location if isinstance(location, tuple) else (location,)
    key = ".".join(str(part) for part in parts if part != "[key]")
    message = str(detail["msg"])
    remedy = _REMEDIES.get(str(detail["type"]), f"is invalid: {message[0].lower()}{message[1:]}")
    return Problem(file, key, remedy)
