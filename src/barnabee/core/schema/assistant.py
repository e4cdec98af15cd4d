"""Tables of the assistant, backup, retention, standby, alerts and deployments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from barnabee.core.schema.services import (
    Clock,
    Count,
    Hour,
    Mib,
    Milliseconds,
    Name,
    Percent,
    Permille,
    Port,
    Seconds,
    Text,
    TomlTable,
)

SentKind = Literal["history", "home", "room", "speaker", "results"]


class VoiceConfig(TomlTable):
    """The assistant's voice: a blend of stock voices, in percent.

    `sounds` maps words that the engine would mispronounce to the International Phonetic Alphabet.
    """

    name: Name
    sample_rate_hz: Count
    speed_percent: Annotated[int, Field(ge=50, le=200)] = 100
    blend: dict[Name, Annotated[int, Field(ge=1, le=100)]]
    sounds: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z'-]*$")], Text] = {}


class FillerConfig(TomlTable):
    """Phrases played while the answer is prepared, and from which delay."""

    none_below_ms: Milliseconds
    acknowledgment_below_ms: Milliseconds
    acknowledgment: Annotated[list[Text], Field(min_length=1)]
    thinking: Annotated[list[Text], Field(min_length=1)]
    clarification: Annotated[list[Text], Field(min_length=1)]

    def phrases_by_category(self) -> dict[str, list[str]]:
        return {
            "acknowledgment": self.acknowledgment,
            "thinking": self.thinking,
            "clarification": self.clarification,
        }


class TroubleConfig(TomlTable):
    """Recorded messages, played when a service that a turn needs has failed."""

    stt_failed: Text
    tts_failed_done: Text  # the command was carried out
    tts_failed_answer: Text  # there is an answer that cannot be spoken
    api_failed: Text


class TalkConfig(TomlTable):
    """Turn-taking and media settings of a room: VAD, end of turn, barge-in, time limits, ports."""

    rooms_max: Count
    media_port_first: Port
    media_port_last: Port
    chime: bool
    listen_s: Seconds  # to begin speaking after the wake word
    follow_up_s: Annotated[int, Field(ge=0, le=600)]  # to speak after a reply, without a wake word
    utterance_max_s: Seconds
    think_s: Seconds  # from the end of the utterance to the first audio of the reply
    reply_max_s: Seconds
    speech_permille: Permille  # VAD probability that counts as speech
    speech_ms: Milliseconds  # of speech before a turn begins
    before_ms: Milliseconds  # pre-roll: audio kept from before the start of speech
    judge_ms: Milliseconds  # silence before end-of-turn detection runs
    pause_ms: Milliseconds  # silence that ends a turn which sounds finished
    whole_ms: Milliseconds  # silence that ends a turn whose text is a complete sentence
    wait_ms: Milliseconds  # silence that ends any other turn
    least_ms: Milliseconds  # less speech than this is noise
    barge_in_permille: Permille  # VAD probability while the assistant speaks
    barge_in_ms: Milliseconds
    hint_ms: Milliseconds  # speech that pauses playback until the barge-in is confirmed
    echo_permille: (
        Permille  # share of a sound's energy explained by playback, above which it is echo
    )
    filler_after_ms: Milliseconds


class WyomingConfig(TomlTable):
    """Address of the Wyoming server; the protocol has no authentication."""

    bind: Text
    port: Port


class RecordingConfig(TomlTable):
    """Audio recording of utterances, by room; `retention.audio_days` limits the age."""

    enabled: bool
    rooms: list[Name]
    free_min_mib: Mib  # no recordings when the disk has less free space


class ProbeConfig(TomlTable):
    """Interval of the voice probe, a spoken question through STT, command and TTS; 0 = never."""

    every_s: Annotated[int, Field(ge=0, le=86_400)]
    every_without_gpu_s: Seconds
    limit_ms: Milliseconds  # for each of STT, command, TTS


class LlmConfig(TomlTable):
    """Language model: its server, the limits of an answer, and what may be sent to it.

    `openai` is every server with OpenAI's API, also one of this machine; `gpu` is the model of the
    gpu service, `[model]` with the task "llm". With `none` no connection is made.
    """

    provider: Literal["none", "gpu", "openai", "azure"]
    url: Annotated[str, Field(pattern="^(https?://[^\\s]+)?$")]
    model: str  # of Azure the name of the deployment
    api_version: str  # of Azure
    context_max_chars: Annotated[int, Field(ge=1000, le=1_000_000)]  # instructions and history
    answer_max_chars: Annotated[int, Field(ge=50, le=20_000)]
    answer_max_tokens: Count  # thoughts included
    first_token_ms: Milliseconds
    stall_ms: Milliseconds  # between two tokens
    answer_ms: Milliseconds  # the whole answer
    check_every_s: Seconds  # one token is asked for so often
    rooms: list[Name]  # only there; empty: everywhere
    send: list[SentKind]  # beside the sentence itself


class ScheduleConfig(TomlTable):
    """How long timers, alarms and reminders ring, and what happens when they are not heard."""

    ring_for_s: Seconds  # not stopped by then: missed, reported at the next command in the room
    louder_after_s: Seconds  # the chime gets louder after this and twice this time
    late_s: Seconds  # a ring later than this says that it is late
    too_late_s: Seconds  # what was due longer ago does not ring and is reported as missed
    snooze_minutes: Count
    announce_within_s: Seconds  # how long an announcement waits for a conversation to end


ServiceName = Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]
EntityId = Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]
Sentence = Annotated[str, Field(pattern=r"^[^{}<>;:]*[a-zA-Z][^{}<>;:]*$")]


class RoutineAction(TomlTable):
    """One service call of Home Assistant."""

    service: ServiceName
    entities: list[EntityId] = []
    data: dict[str, str | int | bool] = {}


class RoutineConfig(TomlTable):
    """A routine: `[optional]` and `(one|other)` may be used in its sentences."""

    sentences: Annotated[list[Sentence], Field(min_length=1)]
    actions: Annotated[list[RoutineAction], Field(min_length=1)]
    say: Text = "Okay."


class ReplicaConfig(TomlTable):
    """S3-compatible destination of the database replica."""

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


class BackupConfig(TomlTable):
    """Daily snapshot, nightly restore drill, and off-site copies."""

    snapshot_at: Clock
    drill_at: Clock
    stale_after_h: Count
    offsite: str
    audio_to: str
    audio_every_s: Seconds


class RetentionConfig(TomlTable):
    """Retention time of each kind of data."""

    turns_days: Count
    audio_days: Count
    replica_hours: Count
    snapshots_days: Count
    metrics_days: Count
    logs_days: Count


class StandbyConfig(TomlTable):
    """Write lease between the primary and the standby machine (docs/reference/standby.md)."""

    lease_s: Seconds  # how long the holder may write after its last renewal
    renew_s: Seconds  # interval of renewals, and of the standby's reads
    request_limit_ms: Milliseconds  # of one request to the lease store
    stop_s: Seconds  # writing stops this long before the lease expires
    clock_drift_permille: Annotated[int, Field(ge=0, le=200)]  # maximum rate error of a clock
    follow_s: Seconds  # interval at which the standby fetches new transactions
    takeover_s: Seconds  # how long a promotion may wait for the lease


class AcceptanceConfig(TomlTable):
    """Limits that `barnabee accept` measures."""

    cold_start_s: Seconds
    healthy_s: Seconds
    replica_lag_txids: Annotated[int, Field(ge=0)]
    replica_sync_s: Seconds  # until a new row is in the replica
    log_query_s: Seconds  # until a query returns a line that was just written
    alert_s: Seconds  # until Home Assistant has received a test alert
    recover_s: Seconds


class DeployConfig(TomlTable):
    """Time limits of a deployment, and how it is supervised."""

    switch_s: Seconds
    settle_s: Seconds
    confirm_s: Seconds
    data_s: Seconds
    watch_every_s: Seconds
    boot_tries: Count
    records_kept: Count


class AlertConfig(TomlTable):
    """Quiet hours, repeat interval and thresholds of the alerts."""

    quiet_from_h: Hour
    quiet_until_h: Hour
    mail_repeat_h: Count
    heartbeat_min: Count
    requests_min: Count
    latency_p95_ms: Milliseconds
    gpu_memory_percent: Percent
    replica_lag_s: Seconds
    drill_age_h: Count
    snapshot_age_h: Count
    disk_free_percent: Percent
    disk_full_h: Count
    disk_watch_percent: Percent
    certificate_days: Count
    refusals_per_hour: Count
    evictions_per_hour: Count
    vram_left_mib: Mib
    queue_age_s: Seconds
    ring_unheard_s: Seconds
    turns_failed_per_hour: Count
    false_wakes_per_day: Count
    probes_missed: Count
