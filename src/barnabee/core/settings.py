"""What one process is told from outside: environment names of the specification, and credentials.

Built in the application factory, never at import. Secrets are files in `$CREDENTIALS_DIRECTORY`
(systemd credentials; the local runner does the same), never environment values.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from barnabee.core.errors import SettingInvalid, SettingMissing
from barnabee.core.schema import System


class Settings(BaseSettings):
    """The environment of a service; every name has a default that suits one machine."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    database_path: Path = Field(Path("/data/barnabee.db"), validation_alias="DATABASE_PATH")
    data_dir: Path = Field(Path("/data"), validation_alias="BARNABEE_DATA")
    fillers_dir: Path | None = Field(None, validation_alias="BARNABEE_FILLERS")
    models_dir: Path = Field(Path("/models"), validation_alias="BARNABEE_MODELS")
    redis_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="REDIS_URL")
    gpu_service_url: str = Field("http://127.0.0.1:8001", validation_alias="GPU_SERVICE_URL")
    # What a server that is not ours calls its models and voice; ours takes these for its own.
    stt_model: str = Field("whisper-1", validation_alias="BARNABEE_STT_MODEL")
    tts_model: str = Field("tts-1", validation_alias="BARNABEE_TTS_MODEL")
    embed_model: str = Field("text-embedding-3-small", validation_alias="BARNABEE_EMBED_MODEL")
    tts_voice: str = Field("", validation_alias="BARNABEE_TTS_VOICE")
    api_url: str = Field("http://127.0.0.1:8000", validation_alias="API_URL")
    # Where the api finds its neighbours; empty: on this machine, at the address that all bind to.
    voice_url: str = Field("", validation_alias="VOICE_URL")
    worker_url: str = Field("", validation_alias="WORKER_URL")
    litestream_url: str = Field("", validation_alias="LITESTREAM_URL")
    home_assistant_url: str = Field("", validation_alias="HOME_ASSISTANT_URL")
    alertmanager_url: str = Field("http://127.0.0.1:9093", validation_alias="ALERTMANAGER_URL")
    azure_openai_endpoint: str = Field("", validation_alias="AZURE_OPENAI_ENDPOINT")
    azure_openai_deployment: str = Field("", validation_alias="AZURE_OPENAI_DEPLOYMENT")
    azure_openai_api_version: str = Field("2024-10-21", validation_alias="AZURE_OPENAI_API_VERSION")
    azure_communication_endpoint: str = Field("", validation_alias="AZURE_COMMUNICATION_ENDPOINT")
    mail_server: str = Field("", validation_alias="ALERT_MAIL_SMARTHOST")  # host:port
    replica_endpoint: str = Field("", validation_alias="BARNABEE_REPLICA_ENDPOINT")
    litestream_socket: str = Field("", validation_alias="BARNABEE_LITESTREAM_SOCKET")
    # Set where the worker makes snapshots and does drills itself; on NixOS timers do.
    backup_credentials: str = Field("", validation_alias="BARNABEE_BACKUP_CREDENTIALS")
    # Where it is said whether this machine may write; empty: there is no stand-by.
    lease_dir: str = Field("", validation_alias="BARNABEE_LEASE_DIR")
    loki_url: str = Field("", validation_alias="LOKI_URL")  # the runner's and the command line's
    otlp_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    bind: str = Field("127.0.0.1", validation_alias="BARNABEE_BIND")
    device: Literal["cpu", "cuda"] = Field("cpu", validation_alias="BARNABEE_DEVICE")
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
    def _usable_urls(cls, value: str) -> str:
        for url in urls(value):
            _check_url(url)
        if len(set(urls(value))) < len(urls(value)):
            raise ValueError("the same URL stands in it twice")
        return value

    @property
    def gpu_service_urls(self) -> tuple[str, ...]:
        """Return the inference services among which the work is shared."""
        return urls(self.gpu_service_url)


def load(system: System) -> Settings:
    """Read the environment; addresses not given follow the ports of `system`.

    Raises SettingInvalid naming the first variable that is not usable.
    """
    defaults = {
        "REDIS_URL": f"redis://127.0.0.1:{system.port('redis')}/0",
        "GPU_SERVICE_URL": f"http://127.0.0.1:{system.port('gpu')}",
        "API_URL": f"http://127.0.0.1:{system.port('api')}",
    }
    if "alertmanager" in system.companion:
        defaults["ALERTMANAGER_URL"] = f"http://127.0.0.1:{system.port('alertmanager')}"
    given = {name: value for name, value in defaults.items() if not os.environ.get(name)}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingInvalid(name=name, reason=reason, hint=f"mend {name}") from error


def urls(value: str) -> tuple[str, ...]:
    """Return the URLs in a list with commas, without blanks and closing slashes. Pure."""
    return tuple(one.strip().rstrip("/") for one in value.split(","))


def _check_url(url: str) -> None:
    """Raise ValueError with one reason when `url` cannot be the address of a service. Pure."""
    if not url:
        raise ValueError("a URL is missing before or after a comma")
    parts = urlsplit(url)  # a bracket out of place is a ValueError already
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not like http://host:8001")
    if any(not one.isprintable() or one.isspace() for one in url):
        raise ValueError(f"{url!r} holds a blank or a control character")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("it holds more than scheme, host, port and path")
    if parts.path.endswith("/v1"):
        raise ValueError(f"leave off the /v1 of {url!r}: it is added")
    if parts.port == 0:  # one that is no number, or too large, is a ValueError already
        raise ValueError(f"{url!r} has no usable port")


def read_variable(name: str, default: str = "") -> str:
    """Return an environment variable that no service has as a setting: paths, systemd's names."""
    return os.environ.get(name) or default


def credential(name: str) -> str | None:
    """Return the secret called `name`, or None when it was not given to this service."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    try:
        return (Path(directory) / name).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        hint = "mend the file's owner, mode and content"
        raise SettingInvalid(name=f"credential {name}", reason=str(error), hint=hint) from error


def required_credential(name: str) -> str:
    """Return the secret called `name`; SettingMissing says where to put it."""
    value = credential(name)
    if value is None:
        hint = f"put it into the file `{name}` of CREDENTIALS_DIRECTORY"
        raise SettingMissing(name=f"credential {name}", hint=hint)
    return value
