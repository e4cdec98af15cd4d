"""Settings from environment variables and credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core import renamed, settings, system
from barnabee.core.errors import SettingInvalid, SettingMissing


def test_default_urls_follow_the_ports_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("REDIS_URL", "GPU_SERVICE_URL", "API_URL"):
        monkeypatch.delenv(name, raising=False)
    assert settings.read_settings(system.load_system()).gpu_service_url == "http://127.0.0.1:8001"
    monkeypatch.setenv("GPU_SERVICE_URL", "http://barnabee-gpu:8001")
    assert (
        settings.read_settings(system.load_system()).gpu_service_url == "http://barnabee-gpu:8001"
    )


def test_one_variable_may_list_several_inference_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GPU_SERVICE_URL", "http://a:8001/, https://b.lan/gpu ,http://[::1]:9")
    loaded = settings.read_settings(system.load_system())
    assert loaded.gpu_service_urls == ("http://a:8001", "https://b.lan/gpu", "http://[::1]:9")
    monkeypatch.delenv("GPU_SERVICE_URL")
    assert settings.read_settings(system.load_system()).gpu_service_urls == (
        "http://127.0.0.1:8001",
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a:8001", "'a:8001' does not have the form http://host:8001"),
        ("ftp://a", "'ftp://a' does not have the form"),
        ("http://", "'http:' does not have the form"),
        ("http://a,", "missing before or after a comma"),
        ("http://a,,http://b", "missing before or after a comma"),
        ("http://a:99999", "Port out of range"),
        ("http://a:x", "Port could not be cast"),
        ("http://a:0", "no valid port"),
        ("http://[::1", "Invalid IPv6"),
        ("http://a b", "contains a space"),
        ("http://me:secret@a", "only scheme"),
        ("http://a?x=1", "only scheme"),
        ("http://a:8000/v1", "remove the /v1"),
        ("http://a,http://a/", "twice"),
    ],
)
def test_an_invalid_url_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    monkeypatch.setenv("GPU_SERVICE_URL", value)
    with pytest.raises(SettingInvalid, match="GPU_SERVICE_URL is invalid") as refused:
        settings.read_settings(system.load_system())
    assert reason in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("BARNABEE_DEVICE", "toaster"), ("BARNABEE_THREADS", "many"), ("BARNABEE_LOG_LEVEL", "loud")],
)
def test_an_invalid_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingInvalid, match=name):
        settings.read_settings(system.load_system())


def test_a_secret_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "api_token").write_text("s3cret\n", encoding="utf-8")
    assert settings.require_credential("api_token") == "s3cret"


def test_a_missing_secret_is_reported_with_its_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(SettingMissing, match=r"api_token.*CREDENTIALS_DIRECTORY"):
        settings.require_credential("api_token")


def test_old_names_work_with_one_warning_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(renamed, "_warned", set())
    for name in ("LLM_PROVIDER", "LLM_URL", "LLM_MODEL", "BARNABEE_TOKENS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://x.openai.azure.com")
    monkeypatch.setenv("AZURE_OPENAI_DEPLOYMENT", "family")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "azure_openai_key").write_text("s3cret")
    for _ in range(2):
        loaded = settings.read_settings(system.load_system())
        assert settings.read_credential("llm_api_key") == "s3cret"
    assert (loaded.llm_provider, loaded.llm_url, loaded.llm_model) == (
        "azure",
        "https://x.openai.azure.com",
        "family",
    )
    assert len(capsys.readouterr().err.splitlines()) == 3
    monkeypatch.setenv("LLM_URL", "http://127.0.0.1:8003/v1")
    loaded = settings.read_settings(system.load_system())
    assert (loaded.llm_provider, loaded.llm_url) == ("", "http://127.0.0.1:8003/v1")
