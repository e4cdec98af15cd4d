"""The api's language model: `[llm]` of the system file, with the environment going before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import Counter

from barnabee.clients.llm import LlmClient
from barnabee.core.auth import make_token_reader
from barnabee.core.errors import SettingInvalid
from barnabee.core.metrics import Metrics
from barnabee.core.schema import LlmConfig, System
from barnabee.core.settings import Settings, read_credential, require_credential
from barnabee.core.tokens import Scope

KEY = "llm_api_key"
GPU_MODEL = "local"  # the gpu service's name for any of its language models


def make_llm_client(system: System, settings: Settings, metrics: Metrics) -> LlmClient | None:
    """Return the client, None without a provider; SettingInvalid without URL or model."""
    config = merge_config(system.llm, settings)
    sent = make_counter(metrics)
    if config.provider == "none":
        return None

    def count(characters: Mapping[str, int]) -> None:
        for kind, length in characters.items():
            sent.labels(config.provider, kind).inc(length)

    return LlmClient(config, find_key(config), on_sent=count)


def find_key(config: LlmConfig) -> str | Callable[[], str] | None:
    """Return the server's key or, of the gpu service, the function that reads our token."""
    if config.provider == "gpu":
        return make_token_reader(Scope.INFER)
    return require_credential(KEY) if config.provider == "azure" else read_credential(KEY)


def describe_config(config: LlmConfig) -> dict[str, Any] | None:
    """Return what the page shows; None without a language model. Pure."""
    if config.provider == "none":
        return None
    return {
        "provider": config.provider,
        "server": urlsplit(config.url).hostname or "",
        "model": config.model,
        "rooms": config.rooms,
        "sent": ["sentence", "time", *config.send],
    }


def make_counter(metrics: Metrics) -> Counter:
    """Register `barnabee_llm_characters`."""
    return Counter(
        "barnabee_llm_characters",
        "Characters sent to the language model, by provider and kind of data.",
        ("provider", "kind"),
        registry=metrics.registry,
    )


def merge_config(config: LlmConfig, settings: Settings) -> LlmConfig:
    """Return the configuration with the variables that are set. Pure."""
    given = {
        "provider": settings.llm_provider,
        "url": settings.llm_url,
        "model": settings.llm_model,
        "api_version": settings.llm_api_version,
    }
    merged = config.model_copy(update={name: value for name, value in given.items() if value})
    if merged.provider == "none":
        return merged
    if merged.provider == "gpu":
        url = f"{settings.gpu_service_urls[0]}/v1"
        return merged.model_copy(update={"url": url, "model": merged.model or GPU_MODEL})
    for name in ("url", "model"):
        if not getattr(merged, name):
            hint = f"set it, or `llm.{name}` in system.toml; without a model: provider none"
            raise SettingInvalid(name=f"LLM_{name.upper()}", reason="it is empty", hint=hint)
    if not merged.url.startswith(("http://", "https://")):
        hint = "write http://HOST:PORT/v1, or https://NAME.openai.azure.com"
        raise SettingInvalid(name="LLM_URL", reason=f"it is {merged.url!r}", hint=hint)
    return merged
