"""The tables of `system.toml`: every key with its type and limits.

Data only: read by `core.system`, questioned by `core.graph`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from barnabee.core.schema.alert import Alert
from barnabee.core.schema.retention import Acceptance, Backup, Deploy, Replica, Retention, Standby
from barnabee.core.schema.services import (
    Card,
    External,
    Host,
    Intent,
    Limits,
    Logs,
    Model,
    Service,
    Session,
    Stage,
    Wake,
)
from barnabee.core.schema.speech import Filler, Probe, Recording, Talk, Trouble, Voice
from barnabee.core.schema.types import Name, Table

__all__ = [
    "Acceptance",
    "Alert",
    "Backup",
    "Card",
    "Deploy",
    "External",
    "Filler",
    "Host",
    "Intent",
    "Limits",
    "Logs",
    "Model",
    "Probe",
    "Recording",
    "Replica",
    "Retention",
    "Service",
    "Session",
    "Stage",
    "Standby",
    "System",
    "Table",
    "Talk",
    "Trouble",
    "Voice",
    "Wake",
]


class System(Table):
    """The whole file."""

    schema_version: Literal[1] = Field(alias="schema")
    service: dict[Name, Service]
    companion: dict[Name, Service] = {}
    card: Card
    model: dict[Name, Model]
    voice: Voice
    wake: Wake
    stage: Stage
    intent: Intent
    session: Session
    limits: Limits
    filler: Filler
    trouble: Trouble
    talk: Talk
    replica: Replica
    backup: Backup
    retention: Retention
    recording: Recording
    probe: Probe
    standby: Standby
    alert: Alert
    external: dict[Name, External]
    acceptance: Acceptance
    deploy: Deploy
    logs: Logs
    host: dict[Name, Host] = {}

    def nodes(self) -> dict[str, Service]:
        """Return services and companions by name: everything the local runner can start."""
        return {**self.companion, **self.service}

    def port(self, name: str) -> int:
        """Return the port of a service; KeyError when it has none, which is a programming error."""
        port = self.nodes()[name].port
        if port is None:
            raise KeyError(name)
        return port
