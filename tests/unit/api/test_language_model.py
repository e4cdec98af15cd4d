"""The configuration of the language model, and the count of what is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barnabee.api.language_model import describe_config, find_key, make_llm_client, merge_config
from barnabee.core.errors import SettingInvalid
from barnabee.core.metrics import Metrics
from barnabee.core.settings import Settings
from barnabee.core.system import get_system

CONFIG = get_system().llm


def make_settings(**changes: str) -> Settings:
    return Settings(**changes)  # type: ignore[arg-type]


def test_without_a_provider_there_is_no_client() -> None:
    metrics = Metrics("api")
    assert make_llm_client(get_system(), make_settings(), metrics) is None
    assert b"barnabee_llm_characters_total{" not in metrics.render()


def test_the_environment_goes_before_the_system_file() -> None:
    config = CONFIG.model_copy(update={"provider": "openai", "url": "http://a/v1", "model": "a"})
    assert merge_config(config, make_settings()) == config
    merged = merge_config(config, make_settings(LLM_MODEL="b"))
    assert (merged.provider, merged.url, merged.model) == ("openai", "http://a/v1", "b")
    assert merge_config(config, make_settings(LLM_PROVIDER="none")).provider == "none"


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"LLM_URL": "", "LLM_MODEL": "x"}, "LLM_URL"),
        ({"LLM_URL": "http://a/v1", "LLM_MODEL": ""}, "LLM_MODEL"),
        ({"LLM_URL": "a:8003", "LLM_MODEL": "x"}, "LLM_URL"),
    ],
)
def test_what_is_missing_is_named(variables: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingInvalid, match=name):
        merge_config(CONFIG, make_settings(LLM_PROVIDER="openai", **variables))


def test_the_page_names_the_server_and_what_it_receives_but_no_key() -> None:
    assert describe_config(CONFIG) is None
    url = "https://me:secret@api.example.com:8443/v1"
    given = {"provider": "openai", "url": url, "model": "m", "rooms": ["kitchen"], "send": ["home"]}
    assert describe_config(CONFIG.model_copy(update=given)) == {
        "provider": "openai",
        "server": "api.example.com",
        "model": "m",
        "rooms": ["kitchen"],
        "sent": ["sentence", "time", "home"],
    }


def test_the_model_of_the_gpu_service_has_its_address_and_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "infer_token").write_text("made-up", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = make_settings(LLM_PROVIDER="gpu", GPU_SERVICE_URL="http://gpu:8001,http://two:8001")
    merged = merge_config(CONFIG, settings)
    assert (merged.url, merged.model) == ("http://gpu:8001/v1", "local")
    key = find_key(merged)
    assert callable(key)
    assert key() == "made-up"
