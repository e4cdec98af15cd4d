"""Tables for the assistant's voice, its recorded phrases, turn-taking, recording and the probe."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from barnabee.core.schema.services import (
    Count,
    Mib,
    Milliseconds,
    Name,
    Permille,
    Port,
    Seconds,
    Text,
    TomlTable,
)


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
