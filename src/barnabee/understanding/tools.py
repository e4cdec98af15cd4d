"""Tools of the language model: the intents of the skills, and the control of the home. Pure.

A tool's arguments are validated by the parsers of the slots. Names of devices and the results of
tools are text of others, who may have written instructions into them: `is_asked_for` decides
whether a call follows from the user's own words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from barnabee.understanding.interfaces import ToolRequest
from barnabee.understanding.skill import Skill, SkillCall, SkillIntent, SlotKind
from barnabee.understanding.slots import parse_slot
from barnabee.understanding.words import fold_name

HOME_CONTROL: Final = "home_control"
HOME_STATE: Final = "home_state"
_CONVERSATIONAL = frozenset({"smalltalk"})  # skills that are no tools
_ARGUMENT_MAX_CHARS = 300
# JSON type and form of the argument of a slot.
_FORMS: Mapping[SlotKind, tuple[str, str]] = {
    "text": ("string", ""),
    "number": ("number", ""),
    "duration": ("string", "such as 5 minutes"),
    "time": ("string", "HH:MM, 24 hours"),
    "date": ("string", "YYYY-MM-DD"),
    "moment": ("string", "YYYY-MM-DDTHH:MM"),
    "weekdays": ("string", "such as Monday and Friday, weekdays, every day"),
}
# Sentences of the actions, with the target `{0}` and the value `{1}`.
_ACTIONS: Mapping[str, str] = {
    "turn_on": "turn on {0}",
    "turn_off": "turn off {0}",
    "open": "open {0}",
    "close": "close {0}",
    "lock": "lock {0}",
    "unlock": "unlock {0}",
    "start": "start {0}",
    "set_brightness": "set {0} brightness to {1} percent",
    "set_color": "set {0} to {1}",
    "set_temperature": "set {0} temperature to {1} degrees",
    "set_position": "set {0} to {1} percent",
}
_NAME: Mapping[str, Any] = {"type": "string", "description": "name from the list of names"}
_AREA: Mapping[str, Any] = {"type": "string", "description": "room, instead of a name"}
_COMMON_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are at be by can could do for from have i in is it me my of on off or our "
        "please set so some that the them then there this to turn up us was we what when "
        "where will with would you your",
    )
)
_QUESTION = re.compile(
    r"(?:what|which|who|whose|when|where|why|how|is|are|was|were|does|do|did|has|have|am)s?\b"
)
_CONDITION = re.compile(r"\b(?:if|when|unless)\b")


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool; `skill` and `intent` are None for those of the home."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    skill: Skill | None = None
    intent: SkillIntent | None = None

    def render(self) -> dict[str, Any]:
        """Return the tool in OpenAI's form."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A validated call: of a skill, or a sentence for the home."""

    tool: Tool
    arguments: Mapping[str, str]  # as the model wrote them
    skill_call: SkillCall | None = None
    sentence: str = ""

    @property
    def summary(self) -> str:
        """Return what the call does, to complete "Did you want me to …?"."""
        if self.sentence:
            return self.sentence
        details = ", ".join(self.arguments.values())
        return f"{self.tool.description} ({details})" if details else self.tool.description


class InvalidCallError(ValueError):
    """A call of the model that cannot be carried out; the message is for the model."""


def make_tools(skills: Iterable[Skill], *, with_home: bool) -> list[Tool]:
    """Return all tools; those of the home first."""
    tools = _make_home_tools() if with_home else []
    for skill in skills:
        if skill.name in _CONVERSATIONAL:
            continue
        tools += [
            Tool(
                re.sub(r"[^A-Za-z0-9_-]", "_", intent.name)[:64],
                intent.description,
                _make_parameters(intent),
                skill,
                intent,
            )
            for intent in skill.intents
        ]
    return tools


def parse_call(
    request: ToolRequest, tools: Mapping[str, Tool], text: str, now: datetime
) -> ToolCall:
    """Return the validated call; `text` is the user's sentence. Raises InvalidCallError."""
    tool = tools.get(request.name)
    if tool is None:
        raise InvalidCallError(f"There is no tool {request.name[:64]!r}.")
    arguments = _parse_arguments(request.arguments)
    unknown = arguments.keys() - tool.parameters["properties"].keys()
    if unknown:
        raise InvalidCallError(f"{tool.name} has no argument {min(unknown)[:64]!r}.")
    missing = [name for name in tool.parameters["required"] if not arguments.get(name)]
    if missing:
        raise InvalidCallError(f"The argument {missing[0]!r} is missing.")
    if tool.intent is None:
        return ToolCall(tool, arguments, sentence=_make_home_sentence(tool, arguments))
    slots = {}
    for name, value in arguments.items():
        kind = tool.intent.slots[name].kind
        slots[name] = parse_slot(kind, value, now)
        if slots[name] is None:
            raise InvalidCallError(f"{value!r} is no {kind}, which {name!r} must be.")
    return ToolCall(tool, arguments, SkillCall(tool.intent.name, slots, text))


def is_asked_for(call: ToolCall, text: str, *, has_results: bool) -> bool:
    """Return whether the call follows from the user's own words.

    Before results of tools were shown to the model, one word of the target or value is enough, but
    a question changes nothing in the home. Afterwards every word must be the user's.
    """
    said = _find_words(text)
    target = _find_words(" ".join(call.arguments.values()).replace("_", " "))
    if call.tool.name == HOME_STATE:
        return True
    if call.tool.name == HOME_CONTROL:
        is_question = _QUESTION.match(fold_name(text)) and not _CONDITION.search(fold_name(text))
        if is_question:
            return False
        target = _find_words(call.arguments.get("name", call.arguments.get("area", "")))
        if has_results and not _names_action(call.arguments, text):
            return False
    if not target and call.tool.intent is not None:
        target = _find_words(f"{call.tool.description} {call.tool.name.replace('_', ' ')}")
        return bool(target & said)
    return target <= said if has_results else bool(target & said)


def _names_action(arguments: Mapping[str, str], text: str) -> bool:
    """Return whether the user said the verb, or the value that is to be set."""
    verb, _, direction = arguments["action"].partition("_")
    needed = arguments.get("value", "") if verb == "set" else direction or verb
    return frozenset(fold_name(needed).split()) <= frozenset(fold_name(text).split())


def _make_parameters(intent: SkillIntent) -> dict[str, Any]:
    properties = {}
    for name, slot in intent.slots.items():
        kind, form = _FORMS[slot.kind]
        description = ", ".join(filter(None, (slot.description, form)))
        properties[name] = {"type": kind} | ({"description": description} if description else {})
    required = [name for name, slot in intent.slots.items() if slot.is_required]
    return {"type": "object", "properties": properties, "required": required}


def _make_home_tools() -> list[Tool]:
    target = {"name": _NAME, "area": _AREA}
    action = {"type": "string", "enum": list(_ACTIONS)}
    value = {"type": "string", "description": "percent, degrees or a color"}
    control = {"action": action, **target, "value": value}
    return [
        Tool(
            HOME_CONTROL,
            "switch or set a device, or all lights of a room",
            {"type": "object", "properties": control, "required": ["action"]},
        ),
        Tool(
            HOME_STATE,
            "tell the state of a device",
            {"type": "object", "properties": {"name": _NAME}, "required": ["name"]},
        ),
    ]


def _make_home_sentence(tool: Tool, arguments: Mapping[str, str]) -> str:
    name, area = _to_words(arguments.get("name")), _to_words(arguments.get("area"))
    if tool.name == HOME_STATE:
        return f"what is the state of {name}"
    template = _ACTIONS.get(arguments["action"])
    if template is None:
        raise InvalidCallError(f"The action is one of {', '.join(_ACTIONS)}.")
    if not name and not area:
        raise InvalidCallError("A name or an area is missing.")
    value = _to_words(arguments.get("value")).removesuffix(" percent").removesuffix(" degrees")
    if "{1}" in template and not value:
        raise InvalidCallError("The argument 'value' is missing.")
    return template.format(name or f"the {area} lights", value)


def _to_words(value: str | None) -> str:
    """Return a name on one line, without what could end the sentence."""
    return " ".join(re.sub(r"[^\w\s&'\u2019+./-]", " ", value or "").split())


def _parse_arguments(text: str) -> dict[str, str]:
    """Return the arguments as text, without those that are null or empty."""
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidCallError("The arguments are not JSON.") from error
    if not isinstance(arguments, dict):
        raise InvalidCallError("The arguments are not a JSON object.")
    return {
        str(name): argument
        for name, value in arguments.items()
        if (argument := _to_text(value)[:_ARGUMENT_MAX_CHARS])
    }


def _to_text(value: object) -> str:
    if isinstance(value, list):
        return " and ".join(map(_to_text, value))
    if value is None or isinstance(value, bool | dict):
        return ""
    return str(value).strip()


def _find_words(text: str) -> frozenset[str]:
    """Return the words that say something, without the plural's s."""
    words: Sequence[str] = fold_name(text).split()
    return frozenset(word.removesuffix("s") for word in words if word not in _COMMON_WORDS)
