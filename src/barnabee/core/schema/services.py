"""Tables for services, models, the GPU, intent recognition, sessions, limits and hosts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]
Mib = Annotated[int, Field(ge=0, le=1_048_576)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Field(ge=1, le=600_000)]
Hour = Annotated[int, Field(ge=0, le=23)]
Percent = Annotated[int, Field(ge=1, le=100)]
Permille = Annotated[int, Field(ge=0, le=1000)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
Text = Annotated[str, Field(min_length=1)]
Clock = Annotated[str, Field(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
# As in CUDA_VISIBLE_DEVICES: the number of a GPU, or the UUID of a GPU or of a MIG slice.
GpuId = Annotated[
    str,
    Field(pattern="^([0-9]{1,2}|(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"),
]
Role = Literal["core", "gpu", "monitoring"]


class TomlTable(BaseModel):
    """A TOML table: frozen, strict types, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ServiceConfig(TomlTable):
    """One service: start, health probe, dependencies, limits and restart policy."""

    summary: Text
    role: Role
    kind: Literal["daemon", "oneshot"] = "daemon"
    # The package that `python -m` runs; the runner, NixOS and the images start it from here.
    module: Annotated[str, Field(pattern=r"^barnabee\.[a-z_]+$")] | None = None
    port: Port | None = None
    probe: Literal["http", "redis", "s3", "home_assistant", "exit"]
    health_path: Annotated[str, Field(pattern="^/")] = "/health/ready"
    needs: list[Name] = []
    wants: list[Name] = []
    startup_budget_s: Seconds
    stop_timeout_s: Seconds = 5
    memory_max_mib: Annotated[int, Field(ge=16, le=1_048_576)]
    restart: Literal["always", "never"] = "always"
    restart_delay_ms: Milliseconds = 500
    start_limit_burst: Count = 5
    start_limit_interval_s: Seconds = 120
    watchdog_s: Seconds = 30
    credentials: list[Name] = []


class GpuConfig(TomlTable):
    """The GPU whose memory the models share, and the time limits of its use."""

    name: Text
    device: GpuId = "0"
    vram_mib: Mib
    headroom_mib: Mib
    cpu_headroom_mib: Mib
    idle_unload_s: Seconds
    queue_depth: Count
    wait_limit_ms: Milliseconds
    turn_limit_ms: Milliseconds

    @property
    def usable_mib(self) -> int:
        return self.vram_mib - self.headroom_mib


class ModelConfig(TomlTable):
    """One model: task, engine, VRAM, priority and preloading."""

    task: Literal["stt", "tts", "embed", "wake", "llm"]
    engine: Literal["parakeet", "whisper", "kokoro", "minilm", "openwakeword", "llama-server"]
    vram_reserved_mib: Mib
    vram_peak_mib: Mib
    priority: Annotated[int, Field(ge=1, le=9)]
    preload: bool
    reload_cost_ms: Milliseconds
    lease_limit_ms: Milliseconds
    cpu_peak_mib: Mib  # of main memory, without a GPU
    cpu_files: str | None = None
    cuda_files: str | None = None


class WakeConfig(TomlTable):
    """Wake words and detection thresholds, optionally for single rooms."""

    words: Annotated[list[Name], Field(min_length=1)]
    threshold_permille: Permille
    pause_ms: Milliseconds
    streams_max: Count
    room: dict[Name, Permille] = {}


class StageConfig(TomlTable):
    """Latency budget of each stage of a turn, in milliseconds."""

    wake_ms: Milliseconds
    vad_ms: Milliseconds
    stt_ms: Milliseconds
    intent_ms: Milliseconds
    home_ms: Milliseconds
    llm_ms: Milliseconds
    tts_first_byte_ms: Milliseconds
    first_audio_ms: Milliseconds


class IntentConfig(TomlTable):
    """Confidence thresholds of intent recognition (cosine similarity in permille)."""

    accept_permille: Permille
    ask_permille: Permille
    margin_permille: Permille


class SessionConfig(TomlTable):
    """Lifetime and length of a conversation's history."""

    ttl_s: Seconds
    turns_max: Count


class LimitsConfig(TomlTable):
    """Limits on what a client may send."""

    body_max_kib: Count
    audio_max_mib: Count
    audio_max_s: Seconds
    utterance_max_chars: Count
    commands_per_minute: Count
    command_burst: Count
    logins_per_minute: Count
    text_to_speech_max_chars: Count


class ExternalConfig(TomlTable):
    """Health check of one external service; `message` is shown while it fails."""

    message: Text
    timeout_ms: Milliseconds
    every_s: Seconds  # while the service answers
    backoff_max_s: Seconds  # upper limit of the exponential back-off while it does not


class LogsConfig(TomlTable):
    """Buffers for log lines that cannot be written or sent immediately."""

    loki_buffer_max_mib: Count  # compressed, while Loki is down
    output_buffer_max_lines: Count  # in each service, while nothing reads its standard output


class HostConfig(TomlTable):
    """One machine and its roles."""

    summary: Text
    roles: Annotated[
        list[Literal["hypervisor", "core", "gpu", "monitoring", "standby"]], Field(min_length=1)
    ]
