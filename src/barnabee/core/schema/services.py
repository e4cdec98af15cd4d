"""What the house is made of: services, models, machines, and what they may do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from barnabee.core.schema.types import (
    Count,
    Mib,
    Milliseconds,
    Name,
    Permille,
    Port,
    Role,
    Seconds,
    Table,
    Text,
)


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
    cpu_headroom_mib: Mib
    idle_unload_s: Seconds
    queue_depth: Count
    wait_limit_ms: Milliseconds
    turn_limit_ms: Milliseconds


class Model(Table):
    """One model: what it does, what it takes of the card, whether it is there from the start."""

    task: Literal["stt", "tts", "embed", "wake"]
    engine: Literal["parakeet", "whisper", "kokoro", "minilm", "openwakeword"]
    vram_reserved_mib: Mib
    vram_peak_mib: Mib
    priority: Annotated[int, Field(ge=1, le=9)]
    preload: bool
    reload_cost_ms: Milliseconds
    lease_limit_ms: Milliseconds
    cpu_peak_mib: Mib  # of main memory, where there is no card
    cpu_files: str | None = None
    cuda_files: str | None = None


class Wake(Table):
    """The words that wake the assistant, and how sure it must be, for each room if need be."""

    words: Annotated[list[Name], Field(min_length=1)]
    threshold_permille: Permille
    pause_ms: Milliseconds
    streams_max: Count
    room: dict[Name, Permille] = {}


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
    logins_per_minute: Count
    text_to_speech_max_chars: Count


class External(Table):
    """Something the house uses and does not run: how it is asked, and what is said without it."""

    words: Text
    timeout_ms: Milliseconds
    every_s: Seconds  # while it answers
    away_most_s: Seconds  # while it does not: the pauses double up to this


class Logs(Table):
    """What becomes of log lines that cannot be written or sent at once."""

    unsent_max_mib: Count  # compressed lines kept for Loki while it is away
    unwritten_max_lines: Count  # kept in a service while whoever reads its output does not


class Host(Table):
    """A machine and what it is for."""

    summary: Text
    roles: Annotated[
        list[Literal["hypervisor", "core", "gpu", "monitoring", "standby"]], Field(min_length=1)
    ]
