"""Set-up: packages, and models of the user's own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.core.errors import SetupFailed
from barnabee.up import monitoring_services, setup
from barnabee.up.console import ProgressSteps
from support import parakeet_tdt


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BARNABEE_MODELS", str(tmp_path))
    return tmp_path


async def test_an_own_model_is_only_verified(models: Path) -> None:
    printed = io.StringIO()
    steps = ProgressSteps(Console(file=printed, width=400))
    assert await setup.fetch_models(["parakeet-mine"], steps) == []
    assert f"put its files into {models / 'parakeet-mine'}" in printed.getvalue()
    assert "barnabee models seal parakeet-mine" in printed.getvalue()
    folder = parakeet_tdt.write_export(models / "parakeet-mine")
    assert await setup.fetch_models(["parakeet-mine"], steps) == ["parakeet-mine"]
    (folder / "vocab.txt").write_text("other")
    assert await setup.fetch_models(["parakeet-mine"], steps) == []
    assert "vocab.txt: 5 bytes instead of" in printed.getvalue()


async def test_monitoring_packages_are_installed_in_sequence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed: list[str] = []
    there = {"redis-server", "restic"}

    async def install(package: str, print_line: object) -> None:
        installed.append(package)

    monkeypatch.setattr(setup.shutil, "which", lambda name: name in there or None)
    monkeypatch.setattr(setup.packages, "can_install_packages", lambda: True)
    monkeypatch.setattr(setup.packages, "install_package", install)
    steps = ProgressSteps(Console(file=io.StringIO()))
    await setup._install_packages(steps, monitoring=False)
    assert installed == []
    await setup._install_packages(steps, monitoring=True)
    assert installed == list(monitoring_services.PROGRAMS.values())
    monkeypatch.setattr(setup.packages, "can_install_packages", lambda: False)
    with pytest.raises(SetupFailed, match="only root may install"):
        await setup._install_packages(steps, monitoring=True)


@pytest.mark.parametrize("is_root", [True, False])
async def test_redis_and_restic_are_installed_where_apt_may_be_used(
    monkeypatch: pytest.MonkeyPatch, is_root: bool
) -> None:
    installed: list[str] = []

    async def install(package: str, print_line: object) -> None:
        installed.append(package)

    monkeypatch.setattr(setup.shutil, "which", lambda _: None)
    monkeypatch.setattr(setup.packages, "can_install_packages", lambda: is_root)
    monkeypatch.setattr(setup.packages, "install_package", install)
    printed = io.StringIO()
    await setup._install_packages(ProgressSteps(Console(file=printed)), monitoring=False)
    assert installed == (["redis-server", "restic"] if is_root else [])
    assert ("snapshots are plain copies" in printed.getvalue()) is not is_root


def test_the_seal_command_writes_a_manifest(models: Path) -> None:
    folder = parakeet_tdt.write_export(models / "parakeet-mine")
    (folder / "manifest.json").unlink()
    result = CliRunner().invoke(app, ["models", "seal", "parakeet-mine"])
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == 4
    assert str(folder / "encoder-model.onnx") in result.output
    assert (folder / "manifest.json").is_file()
    refused = CliRunner().invoke(app, ["models", "seal", "nothing"])
    assert refused.exit_code == 2
    assert "model_missing" in refused.output
