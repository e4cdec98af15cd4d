"""Settings from environment variables and systemd credentials.

Read in the application factory, never at import. Secrets are files in `$CREDENTIALS_DIRECTORY`,
never environment variables.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from barnabee.core.errors import SettingInvalid, SettingMissing
from barnabee.core.renamed import RENAMED_CREDENTIALS, RENAMED_SETTINGS, warn_renamed
from barnabee.core.schema import System


class Settings(BaseSettings):
    """Settings of a service; the defaults suit a single machine."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    database_path: Path = Field(Path("/data/barnabee.db"), validation_alias="DATABASE_PATH")
    data_dir: Path = Field(Path("/data"), validation_alias="BARNABEE_DATA")
    fillers_dir: Path | None = Field(None, validation_alias="BARNABEE_FILLERS")
    models_dir: Path = Field(Path("/models"), validation_alias="BARNABEE_MODELS")
    redis_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="REDIS_URL")
    gpu_service_url: str = Field("http://127.0.0.1:8001", validation_alias="GPU_SERVICE_URL")
    # Names of models and voice on a third-party inference server; ours accepts them as aliases.
    stt_model: str = Field("whisper-1", validation_alias="BARNABEE_STT_MODEL")
    tts_model: str = Field("tts-1", validation_alias="BARNABEE_TTS_MODEL")
    embed_model: str = Field("text-embedding-3-small", validation_alias="BARNABEE_EMBED_MODEL")
    tts_voice: str = Field("", validation_alias="BARNABEE_TTS_VOICE")
    api_url: str = Field("http://127.0.0.1:8000", validation_alias="API_URL")
    # Other services, for the api; empty: on this machine, at the bind address.
    voice_url: str = Field("", validation_alias="VOICE_URL")
    worker_url: str = Field("", validation_alias="WORKER_URL")
    litestream_url: str = Field("", validation_alias="LITESTREAM_URL")
    home_assistant_url: str = Field("", validation_alias="HOME_ASSISTANT_URL")
    alertmanager_url: str = Field("http://127.0.0.1:9093", validation_alias="ALERTMANAGER_URL")
    # These go before `[llm]` of the system file.
    llm_provider: Literal["", "none", "gpu", "openai", "azure"] = Field(
        "", validation_alias="LLM_PROVIDER"
    )
    llm_url: str = Field("", validation_alias="LLM_URL")
    llm_model: str = Field("", validation_alias="LLM_MODEL")
    llm_api_version: str = Field("", validation_alias="LLM_API_VERSION")
    # Program and context of the gpu service's own language model.
    llama_server: str = Field("llama-server", validation_alias="BARNABEE_LLAMA_SERVER")
    llm_context_tokens: int = Field(8192, ge=512, validation_alias="LLM_CONTEXT_TOKENS")
    azure_communication_endpoint: str = Field("", validation_alias="AZURE_COMMUNICATION_ENDPOINT")
    mail_server: str = Field("", validation_alias="ALERT_MAIL_SMARTHOST")  # host:port
    replica_endpoint: str = Field("", validation_alias="BARNABEE_REPLICA_ENDPOINT")
    litestream_socket: str = Field("", validation_alias="BARNABEE_LITESTREAM_SOCKET")
    # Set if the worker makes snapshots and restore drills; on NixOS timers do.
    backup_credentials: str = Field("", validation_alias="BARNABEE_BACKUP_CREDENTIALS")
    # Directory of the write permit; empty: no standby, this machine always may write.
    lease_dir: str = Field("", validation_alias="BARNABEE_LEASE_DIR")
    loki_url: str = Field("", validation_alias="LOKI_URL")  # for `barnabee up` and the CLI
    otlp_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    bind: str = Field("127.0.0.1", validation_alias="BARNABEE_BIND")
    # Address of the Wyoming server; empty: `wyoming.bind` of system.toml.
    wyoming_bind: str = Field("", validation_alias="BARNABEE_WYOMING_BIND")
    # Addresses and networks of reverse proxies whose forwarded headers are believed.
    trusted_proxies: str = Field("", validation_alias="BARNABEE_TRUSTED_PROXIES")
    device: Literal["cpu", "cuda"] = Field("cpu", validation_alias="BARNABEE_DEVICE")
    # Number or UUID; empty: the first.
    gpu: str = Field("", validation_alias="CUDA_VISIBLE_DEVICES")
    threads: int = Field(0, ge=0, le=256, validation_alias="BARNABEE_THREADS")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias="BARNABEE_LOG_LEVEL"
    )
    log_file: Path | None = Field(None, validation_alias="BARNABEE_LOG_FILE")
    dashboard_dir: Path | None = Field(None, validation_alias="BARNABEE_DASHBOARD")
    log_utterances: bool = Field(default=False, validation_alias="BARNABEE_LOG_UTTERANCES")
    time_zone: str = Field("", validation_alias="BARNABEE_TIME_ZONE")

    @field_validator("gpu_service_url")
    @classmethod
    def _validate_urls(cls, value: str) -> str:
        for url in split_urls(value):
            _check_url(url)
        if len(set(split_urls(value))) < len(split_urls(value)):
            raise ValueError("it contains the same URL twice")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _validate_proxies(cls, value: str) -> str:
        split_proxies(value)
        return value

    @property
    def gpu_service_urls(self) -> tuple[str, ...]:
        """The inference services, for load balancing."""
        return split_urls(self.gpu_service_url)


def read_settings(system: System) -> Settings:
    """Read the environment; addresses that are not set follow the ports in `system`.

    Raises SettingInvalid for the first invalid variable.
    """
    defaults = {
        "REDIS_URL": f"redis://127.0.0.1:{system.port('redis')}/0",
        "GPU_SERVICE_URL": f"http://127.0.0.1:{system.port('gpu')}",
        "API_URL": f"http://127.0.0.1:{system.port('api')}",
    }
    if "alertmanager" in system.companion:
        defaults["ALERTMANAGER_URL"] = f"http://127.0.0.1:{system.port('alertmanager')}"
    defaults |= _read_renamed()
    given = {name: value for name, value in defaults.items() if not os.environ.get(name)}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingInvalid(name=name, reason=reason, hint=f"correct {name}") from error


def _read_renamed() -> dict[str, str]:
    """Return the values of old variables under their new names, each with a warning."""
    values = {}
    for old, new in RENAMED_SETTINGS.items():
        if os.environ.get(old) and not os.environ.get(new):
            warn_renamed("environment variable", old, new)
            values[new] = os.environ[old]
    if "LLM_URL" in values:  # Azure was the only provider
        values["LLM_PROVIDER"] = "azure"
    return values


def split_proxies(value: str) -> tuple[str, ...]:
    """Return the addresses and networks of a comma-separated list. Pure.

    Raises ValueError for an entry that is neither, and for one that matches every address.
    """
    entries = tuple(entry for part in value.split(",") if (entry := part.strip()))
    for entry in entries:
        if ipaddress.ip_network(entry).prefixlen == 0:
            raise ValueError(f"{entry} trusts every client")
    return entries


def split_urls(value: str) -> tuple[str, ...]:
    """Return the URLs of a comma-separated list, without spaces and trailing slashes. Pure."""
    return tuple(url.strip().rstrip("/") for url in value.split(","))


def _check_url(url: str) -> None:
    """Raise ValueError if `url` cannot be the base URL of a service. Pure."""
    if not url:
        raise ValueError("a URL is missing before or after a comma")
    parts = urlsplit(url)  # ValueError for misplaced brackets
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} does not have the form http://host:8001")
    if any(not character.isprintable() or character.isspace() for character in url):
        raise ValueError(f"{url!r} contains a space or a control character")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("only scheme, host, port and path are allowed")
    if parts.path.endswith("/v1"):
        raise ValueError(f"remove the /v1 of {url!r}: it is added")
    if parts.port == 0:  # ValueError for a port that is no number, or too large
        raise ValueError(f"{url!r} has no valid port")


def read_variable(name: str, default: str = "") -> str:
    """Return an environment variable that is no field of Settings; `default` if unset or empty."""
    return os.environ.get(name) or default


@contextmanager
def override_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process for the block. For commands: other threads see them too."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def find_credential(name: str) -> Path | None:
    """Return the file of the secret `name`, or None if this service does not have it.

    BARNABEE_TOKENS is a directory of files that are replaced while the service runs; systemd's
    credentials are not.
    """
    for variable in ("BARNABEE_TOKENS", "CREDENTIALS_DIRECTORY"):
        path = Path(os.environ.get(variable) or "/nonexistent") / name
        if path.is_file():
            return path
    for old, new in RENAMED_CREDENTIALS.items():
        if new == name and (renamed := find_credential(old)) is not None:
            warn_renamed("credential", old, new)
            return renamed
    return None


def read_credential(name: str) -> str | None:
    """Return the secret `name`, or None if this service does not have it."""
    path = find_credential(name)
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        hint = "check the file's owner, mode and content"
        raise SettingInvalid(name=f"credential {name}", reason=str(error), hint=hint) from error


def redis_password_name(user: str) -> str:
    """Return the name of the credential with a Redis user's password."""
    return f"redis_{user}_password"


def require_credential(name: str) -> str:
    """Return the secret `name`; SettingMissing if this service does not have it."""
    value = read_credential(name)
    if value is None:
        hint = f"put it into the file `{name}` of CREDENTIALS_DIRECTORY"
        raise SettingMissing(name=f"credential {name}", hint=hint)
    return value
