"""The front end of every sentence: cleaning, corrections and compounds."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from barnabee.understanding.utterance import clean_utterance, normalise
from barnabee.understanding.words import fold_name, make_word_set

NAMES = (
    "Kitchen Light",
    "Bedroom Light",
    "Hall Light",
    "Coffee Machine",
    "Salt & Pepper lamp",
    "Tom and Jerry lamp",
    "Kitchen",
    "Bedroom",
    "Living Room",
)
WORDS = make_word_set(
    "turn switch on off the a kitchen light lights bedroom hall lamp two thirty percent 30% and "
    "then no wait never mind actually um uh please could you would mind turning hey barnabee "
    "jarvis , . ! ? - ' set timer for ten minutes add milk to shopping list remember that remind "
    "me what's is time it them one too again sorry i mean make & don't forget thanks okay so 21°C"
)


@pytest.mark.parametrize(
    ("utterance", "cleaned"),
    [
        ("Turn on the kitchen light.", "Turn on the kitchen light"),
        ("Hey Barnabee, turn on the light!", "turn on the light"),
        ("barnaby turn on the light", "turn on the light"),
        ("Hey Jarvis, turn off the kitchen light.", "turn off the kitchen light"),
        ("Alexa, set a timer for ten minutes", "set a timer for ten minutes"),
        ("ok google what time is it", "what time is it"),
        ("turn on the light, Barnabee", "turn on the light"),
        ("alexa's birthday is in May", "alexa's birthday is in May"),
        ("Alexa is my cousin", "Alexa is my cousin"),
        ("turn on the light please", "turn on the light"),
        ("please turn on the light, please.", "turn on the light"),
        ("could you please turn on the light?", "turn on the light"),
        ("would you mind turning off the hall light", "turn off the hall light"),
        ("do you mind closing the blinds please", "close the blinds"),
        ("I'd like you to dim the lamp, thank you", "dim the lamp"),
        ("go ahead and lock the door", "lock the door"),
        ("please could someone turn off the light", "turn off the light"),
        ("I said turn on the light", "turn on the light"),
        ("could you possibly maybe turn off the light?", "turn off the light"),
        ("can I have the lights on in the kitchen", "turn the lights on in the kitchen"),
        ("can you turn the light off for me", "turn the light off"),
        ("I want to set a timer", "set a timer"),
        ("check if the front door is locked", "is the front door locked"),
        ("what can you do", "what can you do"),
        ("can you hear me", "can you hear me"),
        ("can you believe what happened today", "can you believe what happened today"),
        ("Um, turn on the light.", "turn on the light"),
        ("okay turn off the light", "turn off the light"),
        ("so, um, can you, uh, turn turn on the the light", "turn on the light"),
        ("turn on the um light", "turn on the light"),
        ("turn on turn on the light", "turn on the light"),
        ("okay so uh can you like turn on the uh the light", "turn on the light"),
        ("turn of the hall light", "turn off the hall light"),
        ("dimit to 40%", "dim it to 40 percent"),
        ("know the key is in the shed", "no the key is in the shed"),
        ("uh huh", "uh huh"),
        ("t-turn on the li- light", "turn on the light"),
        ("bye bye", "bye bye"),
        ("the code is one one two two", "the code is one one two two"),
        ("how do you spell two two", "how do you spell two two"),
        ("set the light to 40%", "set the light to 40 percent"),
        ("set the light to twenty five per cent", "set the light to 25 percent"),
        ("set the brightness to forty", "set the brightness to 40"),
        ("set it to 21°C", "set it to 21 degrees Celsius"),
        ("wake me at quarter past three", "wake me at quarter past three"),
        ("set an alarm for six forty five", "set an alarm for six forty five"),
        ("good morning, turn on the lights", "turn on the lights"),
        ("hello, how are you", "how are you"),
        ("okay, thanks", "thanks"),
        ("no thank you", "no thank you"),
        ("  turn \t on\nthe   light  ", "turn on the light"),
        ("what\u2019s the time?", "what's the time"),
        ("Barnabee", "Barnabee"),
        ("Please.", "Please"),
        ("um", "um"),
        ("good morning", "good morning"),
        ("?!", "?!"),
        ("", ""),
    ],
)
def test_what_is_no_part_of_the_command_is_removed_but_not_all(
    utterance: str, cleaned: str
) -> None:
    assert clean_utterance(utterance) == cleaned


@pytest.mark.parametrize(
    ("utterance", "corrected"),
    [
        ("turn on the kitchen light no wait never mind", "never mind"),
        ("turn on the kitchen light, forget it", "never mind"),
        ("turn on the kitchen light no wait", "never mind"),
        ("remember that the code is 12, scratch that", "never mind"),
        ("turn on the light, never mind, what time is it", "what time is it"),
        ("don't forget it", "don't forget it"),
        ("don't turn on the light", "never mind"),
        ("don't turn on the light when I leave", "don't turn on the light when I leave"),
        ("never turn off the hall light", "never turn off the hall light"),
        ("play nevermind by nirvana", "play nevermind by nirvana"),
        ("forget that the key is under the mat", "forget that the key is under the mat"),
        ("turn on the kitchen light, no wait, the bedroom", "turn on the bedroom light"),
        ("turn on the kitchen light. No weight the bedroom", "turn on the bedroom light"),
        ("remember there is no weight limit", "remember there is no weight limit"),
        ("Turn on the kitchen light. No, wait. The bedroom.", "Turn on the bedroom light"),
        ("turn on the kitchen light, no, the hall light", "turn on the hall light"),
        ("turn on the kitchen light no wait turn off the fan", "turn off the fan"),
        (
            "turn on the light in the kitchen, I mean the bedroom",
            "turn on the light in the bedroom",
        ),
        ("turn on the light in the kitchen no wait the fan", "turn on the fan in the kitchen"),
        ("set a timer for five minutes no wait ten minutes", "set a timer for ten minutes"),
        ("set a timer for 5 minutes, actually 10", "set a timer for 10 minutes"),
        (
            "set a timer for 5 minutes for the pasta, no, make that 10",
            "set a timer for 10 minutes for the pasta",
        ),
        (
            "turn off the kitchen light no not that one the bedroom light",
            "turn off the bedroom light",
        ),
        ("turn on the fan, no, not the fan, the hall light", "turn on the hall light"),
        ("remember that the code is 1234 no wait 5678", "remember that the code is 5678"),
        ("turn the light on, no, off", "turn the light off"),
        ("what's the weather today, sorry, tomorrow", "what's the weather tomorrow"),
    ],
)
def test_the_last_word_of_a_correction_counts(utterance: str, corrected: str) -> None:
    assert normalise(utterance, NAMES) == (corrected,)


@pytest.mark.parametrize(
    ("utterance", "clauses"),
    [
        (
            "turn on the coffee machine and turn off the hall light",
            ("turn on the coffee machine", "turn off the hall light"),
        ),
        (
            "turn on the kitchen light and the bedroom light",
            ("turn on the kitchen light", "turn on the bedroom light"),
        ),
        (
            "turn the kitchen light and the bedroom light off",
            ("turn the kitchen light off", "turn the bedroom light off"),
        ),
        (
            "turn on the kitchen light and the bedroom",
            ("turn on the kitchen light", "turn on the bedroom light"),
        ),
        (
            "turn on the kitchen and bedroom lights",
            ("turn on the kitchen lights", "turn on bedroom lights"),
        ),
        (
            "turn on the light in the kitchen and the bedroom",
            ("turn on the light in the kitchen", "turn on the light in the bedroom"),
        ),
        (
            "turn on the kitchen light and off the hall light",
            ("turn on the kitchen light", "turn off the hall light"),
        ),
        (
            "turn the kitchen light on and the hall light off",
            ("turn on the kitchen light", "turn off the hall light"),
        ),
        (
            "set the kitchen light and the hall light to 30%",
            ("set the kitchen light to 30 percent", "set the hall light to 30 percent"),
        ),
        (
            "turn on the Tom and Jerry lamp and the kitchen light",
            ("turn on the Tom and Jerry lamp", "turn on the kitchen light"),
        ),
        (
            "is the front door locked and the garage door closed",
            ("is the front door locked", "is the garage door closed"),
        ),
        (
            "turn on the light, then set a timer for ten minutes and tell me the time",
            ("turn on the light", "set a timer for ten minutes", "tell me the time"),
        ),
        (
            "set the hall light to 50 percent and the desk lamp to 20 percent",
            ("set the hall light to 50 percent", "set the desk lamp to 20 percent"),
        ),
        ("turn on the radio and play jazz", ("turn on the radio", "play jazz")),
        ("turn on the light. Set a timer.", ("turn on the light", "Set a timer")),
        (
            "set a timer for ten minutes and another one for five minutes",
            ("set a timer for ten minutes", "set a timer for five minutes"),
        ),
        (
            "set two timers, one for 10 minutes and one for 20 minutes",
            ("set a timer for 10 minutes", "set a timer for 20 minutes"),
        ),
        (
            "what time is it in New York and London",
            ("what time is it in New York", "what time is it in London"),
        ),
        (
            "Turn the lights off in the kitchen and then the bedroom",
            ("Turn the lights off in the kitchen", "Turn the lights off in the bedroom"),
        ),
        ("what's the time and the date", ("what's the time", "what's the date")),
        (
            "what's the weather today and what's on my calendar",
            ("what's the weather today", "what's on my calendar"),
        ),
        (
            "add milk, eggs and bread to my list and turn on the kitchen light",
            ("add milk, eggs and bread to my list", "turn on the kitchen light"),
        ),
        (
            "turn off the oven and remind me to check the cake and the bread",
            ("turn off the oven", "remind me to check the cake and the bread"),
        ),
        ("turn on the fan and set it to half", ("turn on the fan", "set it to half")),
    ],
)
def test_compounds_are_split(utterance: str, clauses: tuple[str, ...]) -> None:
    assert normalise(utterance, NAMES) == clauses


@pytest.mark.parametrize(
    "utterance",
    [
        "turn on the salt and pepper lamp",
        "turn on the Tom and Jerry lamp",
        "remember that Tom likes tea and Jerry drinks coffee",
        "remember that the bins go out on Monday and turn off the light",
        "remind me to call mum and buy flowers",
        "add milk and eggs to the shopping list",
        "put eggs and butter on the shopping list",
        "wake me up at nine and a half",
        "what is five and three",
        "play rock and roll",
        "play Simon and Garfunkel",
        "tell everyone dinner is ready and turn off the tv",
        "what's the time difference between London and New York",
        "turn off everything but the kitchen light",
        "why is the sky blue and the grass green",
    ],
)
def test_what_belongs_together_is_not_split(utterance: str) -> None:
    assert normalise(utterance, NAMES) == (utterance,)


def test_a_name_with_and_is_split_only_where_it_is_unknown() -> None:
    text = "turn on the rock and the roll lamp"
    assert normalise(text, ["Rock and the Roll lamp"]) == (text,)
    assert normalise(text) == ("turn on the rock lamp", "turn on the roll lamp")


def check_result(text: str) -> None:
    clauses = normalise(text, NAMES)
    assert clauses
    assert all(clauses) or not text.strip()
    for clause in clauses:
        assert normalise(clause, NAMES) == (clause,)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(sorted(WORDS)), max_size=16).map(" ".join))
def test_any_words_have_a_result_that_stays_the_same(text: str) -> None:
    check_result(text)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=60))
@example("\ue000")
@example("\ue000 \ue001")
def test_any_text_has_a_result_that_stays_the_same(text: str) -> None:
    check_result(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Lamp 2", "lamp two"),
        ("Salt & Pepper lamp", "salt and pepper lamp"),
        ("Café-Lamp", "the cafe lamp"),
        ("Emma's lamp", "emma\u2019s Lamp"),
        ("kitchen_light", "Kitchen light"),
        ("Lamp 21", "lamp twenty-one"),
    ],
)
def test_names_that_sound_the_same_are_the_same(one: str, other: str) -> None:
    assert fold_name(one) == fold_name(other)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_a_folded_name_stays_the_same(name: str) -> None:
    assert fold_name(fold_name(name)) == fold_name(name)
