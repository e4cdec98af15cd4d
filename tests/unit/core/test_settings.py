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


def test_several_inference_services_stand_in_one_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GPU_SERVICE_URL", "http://a:8001/, https://b.lan/gpu ,http://[::1]:9")
    loaded = settings.load(system.load())
    assert loaded.gpu_service_urls == ("http://a:8001", "https://b.lan/gpu", "http://[::1]:9")
    monkeypatch.delenv("GPU_SERVICE_URL")
    assert settings.load(system.load()).gpu_service_urls == ("http://127.0.0.1:8001",)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a:8001", "'a:8001' is not like http://host:8001"),
        ("ftp://a", "'ftp://a' is not like"),
        ("http://", "'http:' is not like"),
        ("http://a,", "missing before or after a comma"),
        ("http://a,,http://b", "missing before or after a comma"),
        ("http://a:99999", "Port out of range"),
        ("http://a:x", "Port could not be cast"),
        ("http://a:0", "no usable port"),
        ("http://[::1", "Invalid IPv6"),
        ("http://a b", "blank"),
        ("http://me:secret@a", "more than scheme"),
        ("http://a?x=1", "more than scheme"),
        ("http://a:8000/v1", "leave off the /v1"),
        ("http://a,http://a/", "twice"),
    ],
)
def test_an_address_that_is_none_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    monkeypatch.setenv("GPU_SERVICE_URL", value)
    with pytest.raises(SettingInvalid, match="GPU_SERVICE_URL is not usable") as refused:
        settings.load(system.load())
    assert reason in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


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
