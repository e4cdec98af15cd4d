"""States, events and effects of the conversation state machine in `conversation`."""

from __future__ import annotations

from enum import StrEnum


class ConversationState(StrEnum):
    """State of a room's conversation; the values are those of the client protocol."""

    ASLEEP = "asleep"
    LISTENING = "listening"
    USER_SPEAKING = "hearing"
    THINKING = "thinking"
    SPEAKING = "speaking"
    FOLLOW_UP = "follow_up"


class RoomEvent(StrEnum):
    """Input of the state machine; `TURN_EVENTS` carry the number of their turn."""

    WAKE_WORD_DETECTED = "wake_word_detected"
    BUTTON_PRESSED = "button_pressed"
    BUTTON_RELEASED = "button_released"
    STOP = "stop"
    FALSE_WAKE_REPORTED = "false_wake_reported"  # by the user
    POSSIBLE_SPEECH = "possible_speech"
    FALSE_ALARM = "false_alarm"  # the possible speech was none
    SPEECH_STARTED = "speech_started"
    TURN_ENDED = "turn_ended"
    USER_RESUMED = "user_resumed"  # spoke again after TURN_ENDED
    TOO_SHORT = "too_short"  # the turn ended with too little speech for a word
    TRANSCRIBED = "transcribed"  # or transcription failed: the turn can no longer be resumed
    NO_SPEECH_RECOGNIZED = "no_speech_recognized"  # the transcript is empty
    REPLY_STARTED = "reply_started"  # its first audio is played
    REPLY_FINISHED = "reply_finished"
    DEADLINE_PASSED = "deadline_passed"
    ANNOUNCEMENT_DUE = "announcement_due"
    RING_DUE = "ring_due"
    RING_ENDED = "ring_ended"  # nothing rings here any more


TURN_EVENTS = frozenset(
    {
        RoomEvent.TURN_ENDED,
        RoomEvent.USER_RESUMED,
        RoomEvent.TOO_SHORT,
        RoomEvent.TRANSCRIBED,
        RoomEvent.NO_SPEECH_RECOGNIZED,
        RoomEvent.REPLY_STARTED,
        RoomEvent.REPLY_FINISHED,
    }
)


class Effect(StrEnum):
    """Output of the state machine, carried out by the stages."""

    BEGIN_TURN = "begin_turn"
    END_TURN = "end_turn"
    PLAY_CHIME = "play_chime"
    FORCE_ENDPOINT = "force_endpoint"  # take the speech so far as the whole utterance
    AWAIT_REPLY = "await_reply"
    SPEAK_UNPROMPTED = "speak_unprompted"
    RESUME_UTTERANCE = "resume_utterance"  # discard what was made of the utterance so far
    PAUSE_PLAYBACK = "pause_playback"
    RESUME_PLAYBACK = "resume_playback"
    STOP_PLAYBACK = "stop_playback"
    REPORT_BARGE_IN = "report_barge_in"
    REPORT_FALSE_WAKE = "report_false_wake"
