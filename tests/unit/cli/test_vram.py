from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee.cli.app import app

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def cli() -> CliRunner:
    return CliRunner()


def test_plan_has_the_totals_of_the_specification(cli: CliRunner) -> None:
    result = cli.invoke(app, ["vram", "plan"])
    assert result.exit_code == 0
    rows = {line[:24].strip(): line[24:].split() for line in result.stdout.splitlines()}
    assert rows["total, normal"] == ["6.8", "GB", "(6963", "MiB)", "9.5", "GB", "(9728", "MiB)"]
    assert rows["total, fallback active"] == [
        *("11.8", "GB", "(12083", "MiB)"),
        *("14.5", "GB", "(14848", "MiB)"),
    ]
    assert rows["whisper"][-3:] == ["3,", "on", "demand"]
    assert "RTX 4070 Ti SUPER: 16.0 GB (16384 MiB)" in result.stdout
    assert "free with all speech models at their peak: 0.5 GB (512 MiB)" in result.stdout


def test_plan_is_printed_as_json(cli: CliRunner) -> None:
    plan = json.loads(cli.invoke(app, ["vram", "plan", "--json"]).stdout)
    assert plan["totals"] == {
        "normal_reserved_mib": 6963,
        "normal_peak_mib": 9728,
        "fallback_reserved_mib": 12083,
        "fallback_peak_mib": 14848,
    }
    assert (plan["card"]["usable_mib"], plan["left_mib"]) == (15360, 512)
    assert plan["models"]["kokoro"]["vram_peak_mib"] == 3584


def test_models_that_do_not_fit_are_refused_in_one_line(
    cli: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "system.toml").read_text(encoding="utf-8")
    small = tmp_path / "small.toml"
    small.write_text(text.replace("vram_mib = 16384", "vram_mib = 12288"), encoding="utf-8")
    monkeypatch.setenv("BARNABEE_SYSTEM", str(small))
    result = cli.invoke(app, ["vram", "plan"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "take 14848 MiB" in result.stderr
    assert "has 11264 MiB after its headroom" in result.stderr
    assert len(result.stderr.splitlines()) == 1
