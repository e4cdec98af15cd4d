"""What the house says, and how it talks with people."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from barnabee.core.schema.types import (
    Count,
    Mib,
    Milliseconds,
    Name,
    Permille,
    Port,
    Seconds,
    Table,
    Text,
)


class Voice(Table):
    """The assistant's voice as a blend of stock voices, in percent.

    `sounds` has words that would be read wrongly, in the International Phonetic Alphabet.
    """

    name: Name
    sample_rate_hz: Count
    speed_percent: Annotated[int, Field(ge=50, le=200)] = 100
    blend: dict[Name, Annotated[int, Field(ge=1, le=100)]]
    sounds: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z'-]*$")], Text] = {}


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


class Recording(Table):
    """Which rooms' utterances are kept as sound; `retention.audio_days` says for how long."""

    enabled: bool
    rooms: list[Name]
    free_min_mib: Mib  # nothing is recorded when the disk has less


class Probe(Table):
    """How often the voice path is tried with a spoken question; 0 = never."""

    every_s: Annotated[int, Field(ge=0, le=86_400)]
    every_without_card_s: Seconds
    limit_ms: Milliseconds  # for each of hearing, answering, speaking
