"""What happens next in a room: states, events in, effects out. Pure: no sound, no clock, no I/O.

asleep ── woken, talk on ──> listening ── speech ──> hearing ── turn ended ──> thinking
  ^                              ^  nobody speaks: asleep          no words: listening │
  │                              │    ^── goes on ── before there are words ──────────┤
  │                              │                                                    v
  └──── nobody speaks ──── follow-up <── all was said ───────────────────────── speaking
                                 └── speech ──> hearing <── speech, at any time ──┘

button (talk on, talk off)   works in every state, and ends whatever runs
every state but asleep       has a deadline, after which it is left
one turn at a time           what comes of a turn that is over is not listened to
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

CUT_WITHIN_S = 2.0  # an utterance that was cut must be reported as over within this


class State(StrEnum):
    """What the room is doing."""

    ASLEEP = "asleep"
    LISTENING = "listening"
    HEARING = "hearing"
    THINKING = "thinking"
    SPEAKING = "speaking"
    FOLLOW_UP = "follow_up"


class Event(StrEnum):
    """What can happen. Those of `OF_A_TURN` belong to one turn and carry its number."""

    WOKEN = "woken"
    TALK_ON = "talk_on"
    TALK_OFF = "talk_off"
    STOP = "stop"  # somebody wants silence
    FALSE_WAKE = "false_wake"  # somebody says that nobody had called
    HINTED = "hinted"  # this may be speech
    DENIED = "denied"  # it was not
    SPEECH = "speech"  # it is
    TURN_ENDED = "turn_ended"
    GOES_ON = "goes_on"  # it had not ended: the person speaks again
    NOISE = "noise"  # it ended, and was too little to be words
    UNDERSTOOD = "understood"  # there are words, or nothing more is waited for
    WORDLESS = "wordless"  # there are none
    REPLYING = "replying"  # the first sound of the reply goes out
    REPLIED = "replied"  # all was said
    PASSED = "passed"  # the deadline


OF_A_TURN = frozenset(
    {
        Event.TURN_ENDED,
        Event.GOES_ON,
        Event.NOISE,
        Event.UNDERSTOOD,
        Event.WORDLESS,
        Event.REPLYING,
        Event.REPLIED,
    }
)


class Effect(StrEnum):
    """What is to be done."""

    BEGIN = "begin"  # a turn: listen from now on, and from a little earlier
    END = "end"  # the turn is over: forget what is left of it
    CHIME = "chime"
    CUT = "cut"  # take what was said so far as all of it
    THINK = "think"  # the person is done
    RECALL = "recall"  # no, the person is not: forget what came of it
    PAUSE = "pause"  # the speech, for a moment
    RESUME = "resume"
    HUSH = "hush"  # end the speech
    BARGED_IN = "barged_in"
    FALSELY_WOKEN = "falsely_woken"


class Limits(Protocol):
    """How long things may take, in s: `[talk]` of system.toml."""

    @property
    def listen_s(self) -> int:
        """After a wake, for somebody to begin."""
        ...

    @property
    def follow_up_s(self) -> int:
        """After a reply, without a wake word."""
        ...

    @property
    def utterance_max_s(self) -> int:
        """An utterance."""
        ...

    @property
    def think_s(self) -> int:
        """From the end of the utterance to the first sound of the reply."""
        ...

    @property
    def reply_max_s(self) -> int:
        """The reply."""
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """Where a room's conversation stands; times are of the caller's clock, in s."""

    state: State = State.ASLEEP
    turn: int = 0  # the running one, or the last
    woken: bool = False  # by a word, and nobody has said anything sensible since
    held: bool = False  # the button
    cut: bool = False
    give_up_s: float = 0.0  # when to stop waiting for somebody to speak
    deadline_s: float | None = None
    hear_until_s: float = 0.0  # while thinking: until then the person may go on

    @property
    def recallable(self) -> bool:
        """Return whether the person may still go on; once the words are known they are used."""
        return self.state is State.THINKING and bool(self.hear_until_s)


Step = tuple[Room, tuple[Effect, ...]]


def step(room: Room, event: Event, now_s: float, limits: Limits, turn: int | None = None) -> Step:
    """Return what the room is then, and what is to be done; `turn` is the event's."""
    if event in OF_A_TURN and turn != room.turn:
        return room, ()
    if event is Event.STOP:
        return _sleep(room, Effect.HUSH)
    if event is Event.FALSE_WAKE:
        return _falsely_woken(room)
    if event is Event.TALK_ON or (event is Event.WOKEN and room.state is not State.HEARING):
        return _called(room, event, now_s, limits)
    if event is Event.TALK_OFF:
        return _let_go(room, now_s)
    return _IN_STATE[room.state](room, event, now_s, limits)


def _called(room: Room, event: Event, now_s: float, limits: Limits) -> Step:
    held = event is Event.TALK_ON
    if held and room.state in {State.LISTENING, State.HEARING}:  # go on hearing, now by hand
        return replace(room, held=True, cut=False, deadline_s=now_s + limits.utterance_max_s), ()
    give_up_s = now_s + (limits.utterance_max_s if held else limits.listen_s)
    listening = Room(State.LISTENING, room.turn + 1, not held, held, False, give_up_s, give_up_s)
    over = () if room.state is State.ASLEEP else (Effect.HUSH, Effect.END)
    return listening, (*over, Effect.BEGIN, *(() if held else (Effect.CHIME,)))


def _let_go(room: Room, now_s: float) -> Step:
    if not room.held:
        return room, ()
    if room.state in {State.LISTENING, State.HEARING}:
        return _cut(replace(room, held=False), now_s)
    return replace(room, held=False), ()


def _cut(room: Room, now_s: float) -> Step:
    return replace(room, cut=True, deadline_s=now_s + CUT_WITHIN_S), (Effect.CUT,)


def _sleep(room: Room, *effects: Effect) -> Step:
    over = () if room.state is State.ASLEEP else (Effect.END,)
    return Room(turn=room.turn), (*effects, *over)


def _falsely_woken(room: Room) -> Step:
    """Go back to sleep, unless somebody was really heard meanwhile."""
    if not room.woken:
        return room, ()
    return _sleep(room, Effect.HUSH, Effect.FALSELY_WOKEN)


def _nobody(room: Room) -> Step:
    return _sleep(room, *((Effect.FALSELY_WOKEN,) if room.woken else ()))


def _asleep(room: Room, _event: Event, _now_s: float, _limits: Limits) -> Step:
    return room, ()


def _listening(room: Room, event: Event, now_s: float, limits: Limits) -> Step:
    if event is Event.SPEECH:
        deadline_s = now_s + limits.utterance_max_s
        return replace(room, state=State.HEARING, deadline_s=deadline_s), ()
    if event in {Event.TURN_ENDED, Event.NOISE}:  # cut before it was sure that anybody spoke
        return _hearing(room, event, now_s, limits)
    if event is Event.PASSED:
        return _nobody(room) if room.cut or not room.held else _cut(room, now_s)
    return room, ()


def _hearing(room: Room, event: Event, now_s: float, limits: Limits) -> Step:
    if event is Event.TURN_ENDED:
        deadline_s = now_s + limits.think_s
        until_s = 0.0 if room.cut else room.deadline_s or 0.0
        thinking = replace(
            room, state=State.THINKING, cut=False, deadline_s=deadline_s, hear_until_s=until_s
        )
        return thinking, (Effect.THINK,)
    if event is Event.NOISE:
        return _wait_on(room, now_s)
    if event is Event.PASSED:
        return _nobody(room) if room.cut else _cut(room, now_s)
    return room, ()


def _wait_on(room: Room, now_s: float) -> Step:
    """Nothing was said yet: wait for the rest of the time there was, in a turn of its own."""
    if now_s >= room.give_up_s or room.cut:
        return _nobody(room)
    waiting = replace(
        room,
        state=State.LISTENING,
        turn=room.turn + 1,
        cut=False,
        deadline_s=room.give_up_s,
        hear_until_s=0.0,
    )
    return waiting, (Effect.END, Effect.BEGIN)


def _thinking(room: Room, event: Event, now_s: float, limits: Limits) -> Step:
    if event is Event.UNDERSTOOD:
        return replace(room, woken=False, hear_until_s=0.0), ()
    if event is Event.GOES_ON:
        return _recall(room, now_s)
    if event is Event.WORDLESS:
        return _wait_on(room, now_s)
    if event is Event.REPLYING:
        deadline_s = now_s + limits.reply_max_s
        speaking = replace(
            room, state=State.SPEAKING, woken=False, deadline_s=deadline_s, hear_until_s=0.0
        )
        return speaking, ()
    return _ends(room, event, now_s, limits)


def _recall(room: Room, now_s: float) -> Step:
    """Hear on, in the same turn, for the rest of the time that an utterance may take."""
    if now_s >= room.hear_until_s:
        return room, ()
    hearing = replace(room, state=State.HEARING, deadline_s=room.hear_until_s, hear_until_s=0.0)
    return hearing, (Effect.RECALL,)


def _speaking(room: Room, event: Event, now_s: float, limits: Limits) -> Step:
    if event is Event.HINTED:
        return room, (Effect.PAUSE,)
    if event is Event.DENIED:
        return room, (Effect.RESUME,)
    if event is Event.SPEECH:
        deadline_s, give_up_s = now_s + limits.utterance_max_s, now_s + limits.follow_up_s
        hearing = Room(
            State.HEARING, room.turn + 1, held=room.held, give_up_s=give_up_s, deadline_s=deadline_s
        )
        return hearing, (Effect.BARGED_IN, Effect.HUSH, Effect.END, Effect.BEGIN)
    return _ends(room, event, now_s, limits)


def _ends(room: Room, event: Event, now_s: float, limits: Limits) -> Step:
    if event is Event.REPLIED:
        return _follow_up(room, now_s, limits)
    if event is Event.PASSED:
        return _sleep(room, Effect.HUSH)
    return room, ()


def _follow_up(room: Room, now_s: float, limits: Limits) -> Step:
    if not limits.follow_up_s:
        return _sleep(room)
    until_s = now_s + limits.follow_up_s
    waiting = Room(
        State.FOLLOW_UP, room.turn + 1, held=room.held, give_up_s=until_s, deadline_s=until_s
    )
    return waiting, (Effect.END, Effect.BEGIN)


_IN_STATE = {
    State.ASLEEP: _asleep,
    State.LISTENING: _listening,
    State.HEARING: _hearing,
    State.THINKING: _thinking,
    State.SPEAKING: _speaking,
    State.FOLLOW_UP: _listening,
}
