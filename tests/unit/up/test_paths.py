from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.up import paths
from barnabee.up.paths import Paths


def test_the_environment_names_the_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BARNABEE_HOME", str(tmp_path))
    assert paths.local_paths().root == tmp_path


def test_without_it_the_checkout_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BARNABEE_HOME", raising=False)
    assert paths.local_paths().root == paths.checkout_directory() / ".barnabee"


def test_two_directories_have_different_run_ids() -> None:
    assert Paths(Path("/a")).run_id != Paths(Path("/b")).run_id


def test_socket_paths_are_short_enough_for_the_kernel() -> None:
    assert Paths(Path("/short")).litestream_socket == Path("/short/run/litestream.sock")
    assert len(str(Paths(Path("/" + "long" * 40)).litestream_socket)) < 108
