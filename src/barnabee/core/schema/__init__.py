"""The tables of `system.toml`: every key with its type and limits.

Read by `core.system`; rules across tables are in `core.graph`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from barnabee.core.schema.assistant import (
    AcceptanceConfig,
    AlertConfig,
    BackupConfig,
    DeployConfig,
    FillerConfig,
    LlmConfig,
    ProbeConfig,
    RecordingConfig,
    ReplicaConfig,
    RetentionConfig,
    RoutineConfig,
    ScheduleConfig,
    StandbyConfig,
    TalkConfig,
    TroubleConfig,
    VoiceConfig,
    WyomingConfig,
)
from barnabee.core.schema.services import (
    ExternalConfig,
    GpuConfig,
    HostConfig,
    IntentConfig,
    LimitsConfig,
    LogsConfig,
    ModelConfig,
    Name,
    ServiceConfig,
    SessionConfig,
    StageConfig,
    TomlTable,
    WakeConfig,
)

__all__ = [
    "AcceptanceConfig",
    "AlertConfig",
    "BackupConfig",
    "DeployConfig",
    "ExternalConfig",
    "FillerConfig",
    "GpuConfig",
    "HostConfig",
    "IntentConfig",
    "LimitsConfig",
    "LlmConfig",
    "LogsConfig",
    "ModelConfig",
    "ProbeConfig",
    "RecordingConfig",
    "ReplicaConfig",
    "RetentionConfig",
    "RoutineConfig",
    "ScheduleConfig",
    "ServiceConfig",
    "SessionConfig",
    "StageConfig",
    "StandbyConfig",
    "System",
    "TalkConfig",
    "TomlTable",
    "TroubleConfig",
    "VoiceConfig",
    "WakeConfig",
    "WyomingConfig",
]


class System(TomlTable):
    """The whole system file."""

    schema_version: Literal[1] = Field(alias="schema")
    service: dict[Name, ServiceConfig]
    companion: dict[Name, ServiceConfig] = {}
    gpu: GpuConfig
    model: dict[Name, ModelConfig]
    voice: VoiceConfig
    wake: WakeConfig
    stage: StageConfig
    intent: IntentConfig
    session: SessionConfig
    llm: LlmConfig
    limits: LimitsConfig
    filler: FillerConfig
    trouble: TroubleConfig
    talk: TalkConfig
    wyoming: WyomingConfig
    schedule: ScheduleConfig
    routine: dict[Name, RoutineConfig] = {}
    replica: ReplicaConfig
    backup: BackupConfig
    retention: RetentionConfig
    recording: RecordingConfig
    probe: ProbeConfig
    standby: StandbyConfig
    alert: AlertConfig
    external: dict[Name, ExternalConfig]
    acceptance: AcceptanceConfig
    deploy: DeployConfig
    logs: LogsConfig
    host: dict[Name, HostConfig] = {}

    def nodes(self) -> dict[str, ServiceConfig]:
        """Return services and companions by name."""
        return {**self.companion, **self.service}

    def port(self, name: str) -> int:
        """Return the port of a service; KeyError if it has none."""
        port = self.nodes()[name].port
        if port is None:
            raise KeyError(name)
        return port
