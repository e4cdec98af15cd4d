"""`barnabee alert`: silences by the present and the old names of alerts."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from barnabee.cli import alert
from barnabee.core import renamed


@pytest.fixture
def silenced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    async def create_silence(name: str, *_: Any) -> str:
        names.append(name)
        return "id"

    monkeypatch.setattr(alert, "_create_silence", create_silence)
    monkeypatch.setattr(renamed, "_warned", set())
    return names


def test_silence_accepts_the_old_name_of_an_alert_with_one_warning(
    silenced: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    alert.silence_alert("DiskFilling", 8, "cleaning up")
    assert silenced == ["DiskSpaceLow"]
    shown = capsys.readouterr()
    assert shown.err.count("DiskSpaceLow") == 1
    assert "DiskSpaceLow is silenced for 8 h" in shown.out


def test_silence_does_not_warn_about_a_present_name(silenced: list[str]) -> None:
    result = CliRunner().invoke(alert.app, ["silence", "ProxyDown", "--hours", "2"])
    assert result.exit_code == 0
    assert silenced == ["ProxyDown"]
    assert "warning" not in result.output
