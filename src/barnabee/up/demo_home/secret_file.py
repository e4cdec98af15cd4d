"""One secret in one file that only its owner may read. It must not know what the secret is for."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def read(path: Path) -> str | None:
    """Return the secret, or None where the file is missing or empty."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def write(path: Path, secret: str) -> None:
    """Replace the file as a whole: a reader sees the old secret or the new one, mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp creates with mode 0600, so there is no moment in which others can read it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{secret}\n")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
