"""The tables of `system.toml`: every key with its type and limits.

Data only: read by `core.system`, questioned by `core.graph`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from barnabee.core.alert_table import Alert

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]
Mib = Annotated[int, Field(ge=0, le=1_048_576)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Field(ge=1, le=600_000)]
Permille = Annotated[int, Field(ge=0, le=1000)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
Text = Annotated[str, Field(min_length=1)]
Clock = Annotated[str, Field(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
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


class Voice(Table):
    """The assistant's voice as a blend of stock voices, in percent.

    `sounds` has words that would be read wrongly, in the International Phonetic Alphabet.
    """

    name: Name
    sample_rate_hz: Count
    speed_percent: Annotated[int, Field(ge=50, le=200)] = 100
    blend: dict[Name, Annotated[int, Field(ge=1, le=100)]]
    sounds: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z'-]*$")], Text] = {}


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


class Filler(Table):
    """What is said while the answer is being worked on, and from which delay."""

    none_below_ms: Milliseconds
    acknowledgment_below_ms: Milliseconds
    acknowledgment: Annotated[list[Text], Field(min_length=1)]
    thinking: Annotated[list[Text], Field(min_length=1)]
    clarification: Annotated[list[Text], Field(min_length=1)]

    def phrases(self) -> dict[str, list[str]]:
        """Return the phrases by category."""
        return {
            "acknowledgment": self.acknowledgment,
            "thinking": self.thinking,
            "clarification": self.clarification,
        }


class Trouble(Table):
    """What is played, not spoken, when a part is gone that speaking or hearing needs."""

    deaf: Text  # speech to text is gone
    dumb_done: Text  # text to speech is gone, and what was asked for is done
    dumb_answer: Text  # text to speech is gone, and there is an answer that cannot be said
    lost: Text  # the api is gone: nothing can be done


class Replica(Table):
    """The S3-compatible place the database is streamed to."""

    endpoint: Annotated[str, Field(pattern="^https?://")]
    region: Text
    bucket: Text
    path: Text
    sync_interval_ms: Milliseconds
    snapshot_interval_h: Count
    validation_interval_h: Count
    compact_every_s: Annotated[list[Seconds], Field(min_length=1, max_length=8)]
    transactions_kept_s: Seconds
    transactions_check_s: Seconds


class Backup(Table):
    """The daily snapshot, the nightly drill, and where copies go beside the replica."""

    snapshot_at: Clock
    drill_at: Clock
    cpu_percent: Annotated[int, Field(ge=1, le=100)]
    stale_after_h: Count
    recovery_recipient: Annotated[str, Field(pattern="^(age1[0-9a-z]+)?$")]
    offsite: str
    audio_to: str
    audio_every_s: Seconds
    listings_per_day: Count
    downloads_per_day: Count


class Talk(Table):
    """How a conversation in a room goes: places, ports, and when somebody is taken to speak."""

    rooms_max: Count
    media_port_first: Port
    media_port_last: Port
    chime: bool
    listen_s: Seconds  # after a wake, for somebody to begin
    follow_up_s: Annotated[int, Field(ge=0, le=600)]  # after a reply, without a wake word
    utterance_max_s: Seconds
    think_s: Seconds  # from the end of the utterance to the first sound of the reply
    reply_max_s: Seconds
    speech_permille: Permille  # how sure the voice detector must be
    speech_ms: Milliseconds  # for how long, before it counts as speech
    before_ms: Milliseconds  # sound kept from before that
    judge_ms: Milliseconds  # silence after which it is judged whether the person is done
    pause_ms: Milliseconds  # silence that ends a turn which sounds finished
    whole_ms: Milliseconds  # silence that ends one which reads like a whole sentence
    wait_ms: Milliseconds  # silence that ends a turn which sounds unfinished
    least_ms: Milliseconds  # less voice than this is noise
    barge_in_permille: Permille  # while the assistant itself speaks
    barge_in_ms: Milliseconds
    hint_ms: Milliseconds  # speech this long pauses the assistant until it is sure
    echo_permille: Permille  # of a sound's energy, explained by what was just played
    filler_after_ms: Milliseconds


class Retention(Table):
    """How long each kind of data is kept."""

    turns_days: Count
    audio_days: Count
    replica_hours: Count
    snapshots_days: Count
    metrics_days: Count
    logs_days: Count


class Probe(Table):
    """How often the voice path is tried with a spoken question; 0 = never."""

    every_s: Annotated[int, Field(ge=0, le=86_400)]
    every_without_card_s: Seconds
    limit_ms: Milliseconds  # for each of hearing, answering, speaking


class Recording(Table):
    """Which rooms' utterances are kept as sound; `retention.audio_days` says for how long."""

    enabled: bool
    rooms: list[Name]
    free_min_mib: Mib  # nothing is recorded when the disk has less


class Standby(Table):
    """How it is settled which of two machines may write (docs/reference/standby.md)."""

    lease_s: Seconds  # how long whoever holds the lease may write without having renewed it
    renew_s: Seconds  # how often it is renewed, and how often the other looks
    request_limit_ms: Milliseconds  # one request to the store
    stop_s: Seconds  # writing stops this long before the lease ends
    clock_drift_permille: Annotated[int, Field(ge=0, le=200)]  # how wrong a clock's pace may be
    follow_s: Seconds  # how often the stand-by fetches what is new
    takeover_s: Seconds  # how long a promotion may wait for the lease


class Acceptance(Table):
    """The promises that `barnabee accept` measures."""

    cold_start_s: Seconds
    healthy_s: Seconds
    replica_lag_txids: Annotated[int, Field(ge=0)]
    replica_sync_s: Seconds  # how long a row may take into the replica
    log_query_s: Seconds  # until a query returns a line that was just written
    alert_s: Seconds  # until Home Assistant has a test alert
    detect_failure_s: Seconds
    recover_s: Seconds


class Deploy(Table):
    """How long each part of a switch to another system may take, and how it is looked after."""

    switch_s: Seconds
    settle_s: Seconds
    confirm_s: Seconds
    data_s: Seconds
    watch_every_s: Seconds
    boot_tries: Count
    records_kept: Count


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
