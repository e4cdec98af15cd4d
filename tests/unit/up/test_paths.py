from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.up import paths
from barnabee.up.paths import Paths


def test_the_environment_names_the_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BARNABEE_HOME", str(tmp_path))
    assert paths.local().root == tmp_path


def test_without_it_a_checkout_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BARNABEE_HOME", raising=False)
    assert paths.local().root == paths.checkout() / ".barnabee"


def test_two_directories_have_two_marks() -> None:
    assert Paths(Path("/a")).run_id != Paths(Path("/b")).run_id


def test_a_socket_has_a_path_that_the_kernel_takes() -> None:
    assert Paths(Path("/short")).litestream_socket == Path("/short/run/litestream.sock")
    assert len(str(Paths(Path("/" + "long" * 40)).litestream_socket)) < 108


def test_another_list_of_packages_means_another_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BARNABEE_HOME_ASSISTANT_VENV", raising=False)
    file = tmp_path / "requirements.txt"
    file.write_text("a==1")
    first = paths.home_assistant(file)
    file.write_text("a==2")
    assert paths.home_assistant(file) != first
