"""Reads `system.toml`, the one graph, and says what is wrong with it.

The only module that opens that file. It validates and answers questions about the graph; it starts
nothing and knows no service by name.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from barnabee.core import graph
from barnabee.core.errors import SystemFileInvalid

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]
Mib = Annotated[int, Field(ge=0, le=1_048_576)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Field(ge=1, le=600_000)]
Permille = Annotated[int, Field(ge=0, le=1000)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
Text = Annotated[str, Field(min_length=1)]
Role = Literal["core", "gpu", "monitoring"]


class Table(BaseModel):
    """A TOML table: no unknown key, no silent conversion, never changed after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Service(Table):
    """One node of the graph: how it is started, asked, limited and restarted."""

    summary: Text
    role: Role
    kind: Literal["daemon", "oneshot"] = "daemon"
    port: Port | None = None
    probe: Literal["http", "redis", "tcp", "home_assistant", "exit"]
    health_path: Annotated[str, Field(pattern="^/")] = "/health/ready"
    needs: list[Name] = []
    wants: list[Name] = []
    startup_budget_s: Seconds
    stop_timeout_s: Seconds = 5
    memory_max_mib: Annotated[int, Field(ge=16, le=1_048_576)]
    restart: Literal["always", "on-failure", "never"] = "on-failure"
    restart_delay_ms: Milliseconds = 500
    start_limit_burst: Count = 5
    start_limit_interval_s: Seconds = 120
    watchdog_s: Seconds = 30
    credentials: list[Name] = []


class Card(Table):
    """The graphics card whose memory the models share, and how long anyone may keep or await it."""

    name: Text
    vram_mib: Mib
    headroom_mib: Mib
    idle_unload_s: Seconds
    queue_depth: Count
    wait_limit_ms: Milliseconds
    turn_limit_ms: Milliseconds


class Model(Table):
    """One model: what it does, what it takes of the card, whether it is there from the start."""

    task: Literal["stt", "tts", "embed", "wake"]
    vram_reserved_mib: Mib
    vram_peak_mib: Mib
    priority: Annotated[int, Field(ge=1, le=9)]
    preload: bool
    reload_cost_ms: Milliseconds
    lease_limit_ms: Milliseconds
    cpu_files: str | None = None
    cuda_files: str | None = None


class Voice(Table):
    """The assistant's voice as a blend of stock voices, in percent."""

    name: Name
    sample_rate_hz: Count
    speed_percent: Annotated[int, Field(ge=50, le=200)] = 100
    blend: dict[Name, Annotated[int, Field(ge=1, le=100)]]


class Stage(Table):
    """How long each stage of a turn should take at most, in milliseconds."""

    wake_ms: Milliseconds
    vad_ms: Milliseconds
    stt_ms: Milliseconds
    intent_ms: Milliseconds
    home_ms: Milliseconds
    llm_ms: Milliseconds
    tts_first_byte_ms: Milliseconds
    first_audio_ms: Milliseconds


class Intent(Table):
    """Where understanding begins and guessing ends (cosine similarity in permille)."""

    accept_permille: Permille
    ask_permille: Permille
    margin_permille: Permille
    recall_permille: Permille


class Session(Table):
    """How long a conversation is remembered."""

    ttl_s: Seconds
    turns_kept: Count


class Limits(Table):
    """What a caller may send."""

    body_max_kib: Count
    audio_max_mib: Count
    audio_max_s: Seconds
    utterance_max_chars: Count
    commands_per_minute: Count
    command_burst: Count
    text_to_speech_max_chars: Count


class Filler(Table):
    """What is said while the answer is being worked on, and from which delay."""

    none_below_ms: Milliseconds
    acknowledgment_below_ms: Milliseconds
    acknowledgment: Annotated[list[Text], Field(min_length=1)]
    thinking: Annotated[list[Text], Field(min_length=1)]
    clarification: Annotated[list[Text], Field(min_length=1)]


class Replica(Table):
    """The S3-compatible place the database is streamed to."""

    endpoint: Annotated[str, Field(pattern="^https?://")]
    region: Text
    bucket: Text
    path: Text
    sync_interval_ms: Milliseconds
    snapshot_interval_h: Count
    validation_interval_h: Count


class Retention(Table):
    """How long each kind of data is kept."""

    turns_days: Count
    audio_days: Count
    replica_hours: Count
    snapshots_days: Count
    metrics_days: Count
    logs_days: Count


class Acceptance(Table):
    """The promises that `barnabee accept` measures."""

    cold_start_s: Seconds
    healthy_s: Seconds
    replica_lag_txids: Annotated[int, Field(ge=0)]
    detect_failure_s: Seconds
    recover_s: Seconds


class Host(Table):
    """A machine and what it is for."""

    summary: Text
    roles: Annotated[
        list[Literal["hypervisor", "core", "gpu", "monitoring", "standby"]], Field(min_length=1)
    ]


class System(Table):
    """The whole file."""

    schema_version: Literal[1] = Field(alias="schema")
    service: dict[Name, Service]
    companion: dict[Name, Service] = {}
    card: Card
    model: dict[Name, Model]
    voice: Voice
    stage: Stage
    intent: Intent
    session: Session
    limits: Limits
    filler: Filler
    replica: Replica
    retention: Retention
    acceptance: Acceptance
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


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the file: where, and what to do about it."""

    file: str
    key: str
    remedy: str

    def __str__(self) -> str:
        """Return `file: key: what to do`."""
        return f"{self.file}: {self.key}: {self.remedy}"


def default_path() -> Path:
    """Return `$BARNABEE_SYSTEM`, or the file in the checkout or beside the installed package."""
    named = os.environ.get("BARNABEE_SYSTEM")
    if named:
        return Path(named)
    here = Path(__file__).resolve()
    checkout = here.parents[3] / "system.toml"
    return checkout if checkout.is_file() else here.parents[2] / "system.toml"


def parse(text: str, file: str = "system.toml") -> System | list[Problem]:
    """Return the graph, or everything that is wrong with `text`. Pure."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [Problem(file, "syntax", f"{error}; mend the TOML at that place")]
    try:
        system = System.model_validate(data)
    except ValidationError as error:
        return [_explain(file, dict(detail)) for detail in error.errors()]
    problems = [Problem(file, key, remedy) for key, remedy in graph.problems(system)]
    return problems or system


def load(path: Path | None = None) -> System:
    """Read and validate the file; SystemFileInvalid lists every problem, one a line."""
    path = path or default_path()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(str(path), "file", f"cannot be read ({error}); set BARNABEE_SYSTEM")
        raise SystemFileInvalid(problems=problem) from error
    result = parse(text, str(path))
    if isinstance(result, System):
        return result
    raise SystemFileInvalid(problems=" | ".join(map(str, result)))


@cache
def current() -> System:
    """Return the graph of this process, read once."""
    return load()


_REMEDIES = {
    "extra_forbidden": "is not a key that is known here; remove it or check its spelling",
    "missing": "is missing; add it",
}


def _explain(file: str, detail: dict[str, object]) -> Problem:
    location = detail["loc"]
    parts = location if isinstance(location, tuple) else (location,)
    key = ".".join(str(part) for part in parts if part != "[key]")
    message = str(detail["msg"])
    remedy = _REMEDIES.get(str(detail["type"]), f"is not usable: {message[0].lower()}{message[1:]}")
    return Problem(file, key, remedy)
