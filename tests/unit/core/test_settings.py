"""The environment of a service, and secrets that come as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core import settings, system
from barnabee.core.errors import SettingInvalid, SettingMissing


def test_addresses_follow_the_graph_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("REDIS_URL", "GPU_SERVICE_URL", "API_URL"):
        monkeypatch.delenv(name, raising=False)
    assert settings.load(system.load()).gpu_service_url == "http://127.0.0.1:8001"
    monkeypatch.setenv("GPU_SERVICE_URL", "http://barnabee-gpu:8001")
    assert settings.load(system.load()).gpu_service_url == "http://barnabee-gpu:8001"


@pytest.mark.parametrize(
    ("name", "value"),
    [("BARNABEE_DEVICE", "toaster"), ("BARNABEE_THREADS", "many"), ("BARNABEE_LOG_LEVEL", "loud")],
)
def test_a_bad_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingInvalid, match=name):
        settings.load(system.load())


def test_a_secret_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "api_token").write_text("s3cret\n", encoding="utf-8")
    assert settings.required_credential("api_token") == "s3cret"


def test_a_missing_secret_says_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(SettingMissing, match=r"api_token.*CREDENTIALS_DIRECTORY"):
        settings.required_credential("api_token")
