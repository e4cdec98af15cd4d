"""Finding the entity that a skill needs, and what is said when something failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from barnabee.core.errors import BarnabeeError, HomeRefused, LlmFailed, Unavailable
from barnabee.understanding.interfaces import Area, Entity, Home
from barnabee.understanding.skill import SkillReply
from barnabee.understanding.words import fold_name

_GENERAL_FAILURE = "Something went wrong on my side. Please try again."
_GENERAL_FAILURES = {  # for codes without a sentence of their own
    "home_assistant": "Sorry, something went wrong in Home Assistant, so I can't be sure of that.",
    "llm": "Something went wrong with the language model, so I have no answer.",
    "database": "I can't read or write my notes right now. Please tell me again later.",
    "redis": "I can't set or read timers right now. Please tell me again later.",
    "voice": "I can't reach the loudspeakers right now.",
}
_FAILURES = {
    ("home_assistant", "not_configured"): (
        "I'm not connected to Home Assistant yet, so I can't do that."
    ),
    ("home_assistant", "dependency_down"): (
        "I can't reach Home Assistant right now, so I couldn't do that."
    ),
    ("home_assistant", "dropped"): (
        "I lost the connection to Home Assistant, so I can't be sure that was done."
    ),
    ("home_assistant", "timed_out"): (
        "Home Assistant is taking too long to answer, so I can't be sure that was done."
    ),
    ("home_assistant", "home_refused"): "Home Assistant couldn't do that: {reason}.",
    ("home_assistant", "no_intent_match"): "Sorry, I don't know how to do that in your home.",
    ("home_assistant", "no_valid_targets"): "Sorry, I couldn't find that in your home.",
    ("home_assistant", "failed_to_handle"): "Sorry, Home Assistant couldn't do that.",
    ("llm", "not_configured"): ("Sorry, I don't know that. Ask me what I can do."),
    ("llm", "dependency_down"): (
        "I can't get an answer to that right now. Your home, the time and your notes still work."
    ),
    ("llm", "rate_limited"): "The language model takes no more questions now. Ask me again later.",
    ("llm", "stalled"): "The language model stopped in the middle of its answer.",
    ("llm", "cut_short"): "The language model stopped before the end of its answer.",
    ("llm", "filtered"): "The language model doesn't want to talk about that.",
    ("llm", "not_found"): (
        "The language model in my settings does not exist, so I can't answer that."
    ),
    ("llm", "unauthorized"): ("The language model does not accept my key, so I can't answer that."),
    ("llm", "not_allowed"): "I may not use the language model in this room.",
    ("llm", "timed_out"): "That is taking me too long. Please ask me again later.",
    ("llm", "empty"): "I don't have an answer to that.",
}


def get_failure_phrase(dependency: str, code: str) -> str:
    """Return the sentence for a failure; `code` is that of `core.errors` or of Home Assistant."""
    general = _GENERAL_FAILURES.get(dependency, _GENERAL_FAILURE)
    return _FAILURES.get((dependency, code), general)


def describe_failure(error: BarnabeeError) -> SkillReply:
    """Return a reply that gives the reason of a dependency's failure."""
    dependency, code = find_dependency(error), get_failure_code(error)
    text = get_failure_phrase(dependency, code)
    return SkillReply(
        text.replace("{reason}", str(error.fields.get("reason", "")).rstrip(".")),
        acted=code in {"dropped", "timed_out"} and dependency == "home_assistant",
        code=code,
        degraded=(dependency,) if dependency and isinstance(error, Unavailable) else (),
    )


def find_dependency(error: BarnabeeError) -> str:
    """Return the name of the service that failed, "" if the error does not tell."""
    if isinstance(error, LlmFailed):
        return "llm"
    if isinstance(error, HomeRefused) or error.fields.get("what") == "Home Assistant":
        return "home_assistant"
    if error.code.startswith("database"):
        return "database"
    return str(error.fields.get("dependency", ""))


def get_failure_code(error: BarnabeeError) -> str:
    """Return the error's code, or `dropped` if the request may have been carried out."""
    return "dropped" if error.fields.get("sent") else error.code


NOT_CONNECTED = SkillReply(
    get_failure_phrase("home_assistant", "not_configured"),
    code="not_configured",
    degraded=("home_assistant",),
)


def list_entities(home: Home, domain: str) -> list[Entity]:
    """Return the entities of a domain, by name."""
    found = (entity for entity in home.entities.values() if entity.domain == domain)
    return sorted(found, key=lambda entity: entity.name)


def find_by_name(
    entities: Iterable[Entity], name: str, fold: Callable[[str], str] = fold_name
) -> list[Entity]:
    """Return the entities that have this name or alias."""
    wanted = fold(name)
    return [entity for entity in entities if wanted in map(fold, entity.names)]


def find_area(home: Home, room: str | None) -> Area | None:
    """Return the area of the room in which the command was spoken."""
    if room is None:
        return None
    wanted = fold_name(room.replace("_", " ").replace("-", " "))
    named = (
        area
        for area in home.areas.values()
        if wanted in {*map(fold_name, area.names), fold_name(area.area_id.replace("_", " "))}
    )
    return next(named, None)


def name_room(home: Home | None, room: str | None) -> str | None:
    """Return the id of the area of a device, such as a satellite; any other room unchanged."""
    return home.device_areas.get(room, room) if home is not None and room is not None else room


def join_names(names: Sequence[str], conjunction: str = "and") -> str:
    """Return names as they are spoken: "milk, eggs and bread"."""
    if len(names) < 2:  # noqa: PLR2004 - one name needs no conjunction
        return "".join(names)
    return f"{', '.join(names[:-1])} {conjunction} {names[-1]}"


def capitalize(text: str) -> str:
    """Return `text` with a capital letter in front; the rest stays as it is."""
    return text[:1].upper() + text[1:]
