"""Programs that some tests use, skipped with the reason where one is missing."""

from __future__ import annotations

import shutil

import pytest


def needs_program(name: str, package: str) -> pytest.MarkDecorator:
    """Return the mark of a test that runs `name`, which is in the Debian package `package`."""
    return pytest.mark.skipif(
        shutil.which(name) is None, reason=f"{name} is not installed (Debian: {package})"
    )


def require_program(name: str, package: str) -> None:
    """Skip the running test where `name` is missing."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: {package})")
