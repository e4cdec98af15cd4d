"""What is outside is asked only where it is configured; a wrong address is named at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.api import health
from barnabee.core import system
from barnabee.core.errors import DependencyDown, SettingInvalid
from barnabee.core.external_checks import ExternalServiceDown
from barnabee.core.metrics import Metrics
from barnabee.core.settings import Settings
from barnabee.testing.llm import FakeLanguageModel
from support.wait import free_port

GRAPH = system.load_system(Path(__file__).resolve().parents[3] / "system.toml")


def settings(**told: str) -> Settings:
    return Settings.model_validate(told)


def test_what_is_not_configured_is_not_asked() -> None:
    assert health.make_external_probes(GRAPH, settings(), Metrics("api"), None, None) == {}


def test_what_is_configured_is_asked_by_its_agreed_name() -> None:
    told = settings(
        ALERT_MAIL_SMARTHOST="smtp.gmail.com:587",
        AZURE_COMMUNICATION_ENDPOINT="https://house.communication.azure.com",
    )
    found = health.make_external_probes(GRAPH, told, Metrics("api"), None, FakeLanguageModel())
    assert set(found) == {"azure_openai", "smtp", "azure_communication"}
    assert set(found) <= set(GRAPH.external)


async def test_each_is_told_in_its_own_words() -> None:
    metrics = Metrics("api")
    model = FakeLanguageModel(error=DependencyDown(dependency="llm", reason="it answered 401"))
    told = settings(ALERT_MAIL_SMARTHOST=f"127.0.0.1:{free_port()}")
    found = health.make_external_probes(GRAPH, told, metrics, None, model)
    with pytest.raises(
        ExternalServiceDown, match=r"language model does not answer; lights and timers .* \(it answered 401\)"
    ):
        await found["azure_openai"]()
    with pytest.raises(ExternalServiceDown, match="the mail server does not answer"):
        await found["smtp"]()
    for name in found:
        assert metrics.registry.get_sample_value("barnabee_external_up", {"dependency": name}) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALERT_MAIL_SMARTHOST", "smtp.gmail.com"),
        ("AZURE_COMMUNICATION_ENDPOINT", "house.communication.azure.com"),
    ],
)
def test_an_address_that_is_none_ends_the_start_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingInvalid, match=name):
        health.make_external_probes(GRAPH, settings(**{name: value}), Metrics("api"), None, None)
