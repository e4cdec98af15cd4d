"""Reads `system.toml`, the one graph, and says what is wrong with it.

The only module that opens that file. It validates and answers questions about the graph; it starts
nothing and knows no service by name.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from barnabee.core import graph, replica_epoch
from barnabee.core.errors import SystemFileInvalid
from barnabee.core.schema import System

__all__ = ["Problem", "System", "current", "default_path", "load", "parse"]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the file: where, and what to do about it."""

    file: str
    key: str
    remedy: str

    def __str__(self) -> str:
        """Return `file: key: what to do`."""
        return f"{self.file}: {self.key}: {self.remedy}"


def default_path() -> Path:
    """Return `$BARNABEE_SYSTEM`, or the file in the checkout or beside the installed package."""
    named = os.environ.get("BARNABEE_SYSTEM")
    if named:
        return Path(named)
    here = Path(__file__).resolve()
    checkout = here.parents[3] / "system.toml"
    return checkout if checkout.is_file() else here.parents[2] / "system.toml"


def parse(text: str, file: str = "system.toml") -> System | list[Problem]:
    """Return the graph, or everything that is wrong with `text`. Pure."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [Problem(file, "syntax", f"{error}; mend the TOML at that place")]
    try:
        system = System.model_validate(data)
    except ValidationError as error:
        return [_explain(file, dict(detail)) for detail in error.errors()]
    problems = [Problem(file, key, remedy) for key, remedy in graph.problems(system)]
    return problems or system


def load(path: Path | None = None, *, of_first_line: bool = False) -> System:
    """Read and validate the file; SystemFileInvalid lists every problem, one a line.

    The replica is that of the epoch in `core/replica_epoch.py`, unless the first
    epoch is asked for.
    """
    path = path or default_path()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(str(path), "file", f"cannot be read ({error}); set BARNABEE_SYSTEM")
        raise SystemFileInvalid(problems=problem) from error
    result = parse(text, str(path))
    if isinstance(result, System):
        return result if of_first_line else replica_epoch.own(result)
    raise SystemFileInvalid(problems=" | ".join(map(str, result)))


@cache
def current() -> System:
    """Return the graph of this process, read once."""
    return load()


_REMEDIES = {
    "extra_forbidden": "is not a key that is known here; remove it or check its spelling",
    "missing": "is missing; add it",
}


def _explain(file: str, detail: dict[str, object]) -> Problem:
    location = detail["loc"]
    parts = location if isinstance(location, tuple) else (location,)
    key = ".".join(str(part) for part in parts if part != "[key]")
    message = str(detail["msg"])
    remedy = _REMEDIES.get(str(detail["type"]), f"is not usable: {message[0].lower()}{message[1:]}")
    return Problem(file, key, remedy)
