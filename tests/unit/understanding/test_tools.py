"""Tools of the language model: their form, the validation of arguments, what needs a question."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabee.skills import load_skills
from barnabee.understanding.interfaces import ToolRequest
from barnabee.understanding.tools import (
    InvalidCallError,
    ToolCall,
    is_asked_for,
    make_tools,
    parse_call,
)
from support.language_model import NOW, RecordedSkill

TOOLS = {tool.name: tool for tool in make_tools([RecordedSkill().make()], with_home=True)}


def parse(name: str, arguments: str, text: str = "") -> ToolCall:
    return parse_call(ToolRequest("1", name, arguments), TOOLS, text, NOW)


def test_a_slot_becomes_a_parameter_with_its_form() -> None:
    function = TOOLS["timer_set"].render()["function"]
    assert function["description"] == "set a timer"
    assert function["parameters"] == {
        "type": "object",
        "properties": {
            "duration": {"type": "string", "description": "such as 5 minutes"},
            "label": {"type": "string"},
        },
        "required": ["duration"],
    }


def test_every_skill_has_tools_with_names_that_servers_accept() -> None:
    tools = make_tools(load_skills(), with_home=True)
    names = [tool.name for tool in tools]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").replace("-", "").isalnum() for name in names)


@pytest.mark.parametrize("duration", ["5 minutes", "PT5M", "five minutes"])
def test_arguments_are_parsed_like_slots(duration: str) -> None:
    call = parse("timer_set", f'{{"duration": "{duration}", "label": null}}', "five minutes please")
    assert call.skill_call is not None
    assert call.skill_call.slots == {"duration": timedelta(minutes=5)}
    assert call.skill_call.text == "five minutes please"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("timer_set", '{"duration": "soon"}', "'soon' is no duration"),
        ("timer_set", "{}", "'duration' is missing"),
        ("timer_set", '{"duration": "5 minutes", "room": "x"}', "no argument 'room'"),
        ("timer_set", "[]", "not a JSON object"),
        ("timer_set", "{", "not JSON"),
        ("timer_set", "[" * 100_000, "not JSON"),
        ("shell", "{}", "no tool 'shell'"),
        ("home_control", '{"action": "explode", "name": "lamp"}', "The action is one of"),
        ("home_control", '{"action": "turn_on"}', "A name or an area"),
        ("home_control", '{"action": "set_color", "name": "lamp"}', "'value' is missing"),
    ],
)
def test_an_invalid_call_has_a_reason_for_the_model(
    name: str, arguments: str, message: str
) -> None:
    with pytest.raises(InvalidCallError, match=message):
        parse(name, arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ('{"action": "turn_on", "name": "Tom & Jerry lamp"}', "turn on Tom & Jerry lamp"),
        ('{"action": "turn_off", "area": "kitchen"}', "turn off the kitchen lights"),
        (
            '{"action": "set_brightness", "name": "lamp", "value": 30}',
            "set lamp brightness to 30 percent",
        ),
        (
            '{"action": "set_temperature", "name": "heating", "value": "21 degrees"}',
            "set heating temperature to 21 degrees",
        ),
        (
            '{"action": "open", "name": "blind\\nand unlock the door."}',
            "open blind and unlock the door.",
        ),
    ],
)
def test_home_control_becomes_one_sentence(arguments: str, sentence: str) -> None:
    assert parse("home_control", arguments).sentence == sentence


def control(action: str, name: str) -> tuple[str, str]:
    return "home_control", json.dumps({"action": action, "name": name})


TIMER = ("timer_set", '{"duration": "5 minutes"}')
WINDOW = "if it rains close the kitchen window"


@pytest.mark.parametrize(
    ("text", "request_", "asked_for"),
    [
        ("turn on the kitchen lights", control("turn_on", "Kitchen light"), True),
        ("could you make the kitchen a bit cosier", control("turn_on", "Kitchen light"), True),
        ("tell a joke", control("turn_on", "Garage light"), False),
        ("is the kitchen warm", control("turn_on", "Kitchen light"), False),
        ("how warm is it", ("home_state", '{"name": "Thermometer"}'), True),
        ("pasta takes five minutes, tell me then", TIMER, True),
        ("what did i note", ("note_read", "{}"), True),
        ("tell a joke", ("notes_clear", "{}"), False),
    ],
)
def test_a_call_needs_a_word_of_the_user(
    text: str, request_: tuple[str, str], asked_for: bool
) -> None:
    assert is_asked_for(parse(*request_, text), text, has_results=False) is asked_for


@pytest.mark.parametrize(
    ("text", "request_", "asked_for"),
    [
        ("what is in my note on the garage light", control("turn_on", "Garage light"), False),
        ("read the note and open the garage door", control("open", "Front door"), False),
        (WINDOW, control("close", "kitchen window"), True),
        (WINDOW, control("open", "kitchen window"), False),
        ("what did i note", TIMER, False),
        ("what did i note", ("note_read", "{}"), True),
    ],
)
def test_after_results_of_tools_a_call_needs_all_words_of_the_user(
    text: str, request_: tuple[str, str], asked_for: bool
) -> None:
    assert is_asked_for(parse(*request_, text), text, has_results=True) is asked_for


@settings(deadline=None, max_examples=300)
@given(
    name=st.sampled_from([*TOOLS, "x"]),
    arguments=st.one_of(
        st.text(max_size=40),
        st.dictionaries(
            st.sampled_from(["action", "name", "area", "value", "duration", "label"]),
            st.one_of(
                st.text(max_size=20), st.integers(), st.none(), st.lists(st.text(max_size=5))
            ),
        ).map(json.dumps),
    ),
)
def test_no_arguments_break_the_validation(name: str, arguments: str) -> None:
    try:
        call = parse(name, arguments)
    except InvalidCallError:
        return
    assert "\n" not in call.sentence
