"""What is fetched for which device, and models of one's own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.core.errors import SetUpFailed
from barnabee.up import monitoring_services, setup
from barnabee.up.progress import Steps
from support import tdt


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BARNABEE_MODELS", str(tmp_path))
    return tmp_path


async def test_a_model_of_ones_own_is_only_looked_at(models: Path) -> None:
    said = io.StringIO()
    steps = Steps(Console(file=said, width=400))
    assert await setup.fetch_models(["parakeet-mine"], steps) == []
    assert f"put its files into {models / 'parakeet-mine'}" in said.getvalue()
    assert "barnabee models seal parakeet-mine" in said.getvalue()
    folder = tdt.write_export(models / "parakeet-mine")
    assert await setup.fetch_models(["parakeet-mine"], steps) == ["parakeet-mine"]
    (folder / "vocab.txt").write_text("other")
    assert await setup.fetch_models(["parakeet-mine"], steps) == []
    assert "vocab.txt: 5 bytes instead of" in said.getvalue()


async def test_what_watches_the_house_is_installed_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = []

    async def install(package: str, tell: object) -> None:
        installed.append(package)

    monkeypatch.setattr(setup.shutil, "which", lambda name: name == "redis-server" or None)
    monkeypatch.setattr(setup.apt, "possible", lambda: True)
    monkeypatch.setattr(setup.apt, "install", install)
    steps = Steps(Console(file=io.StringIO()))
    await setup._packages(steps, monitoring=False)
    assert installed == []
    await setup._packages(steps, monitoring=True)
    assert installed == list(monitoring_services.PROGRAMS.values())
    monkeypatch.setattr(setup.apt, "possible", lambda: False)
    with pytest.raises(SetUpFailed, match="only root may install"):
        await setup._packages(steps, monitoring=True)


def test_a_model_of_ones_own_is_sealed_by_a_command(models: Path) -> None:
    folder = tdt.write_export(models / "parakeet-mine")
    (folder / "manifest.json").unlink()
    result = CliRunner().invoke(app, ["models", "seal", "parakeet-mine"])
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == 4
    assert str(folder / "encoder-model.onnx") in result.output
    assert (folder / "manifest.json").is_file()
    refused = CliRunner().invoke(app, ["models", "seal", "nothing"])
    assert refused.exit_code == 2
    assert "model_missing" in refused.output
