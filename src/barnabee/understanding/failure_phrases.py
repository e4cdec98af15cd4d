"""Every sentence that is spoken when something does not work, keyed by dependency and error code.

Spoken means: short, no jargon, true. The code is the one of `core.errors`, or Home Assistant's own.
"""

from __future__ import annotations

from barnabee.core.errors import BarnabeeError

_GENERAL = "Something went wrong on my side. Please try again."
_SPOKEN = {
    ("home_assistant", "not_configured"): (
        "I'm not connected to the house yet, so I can't do that."
    ),
    ("home_assistant", "dependency_down"): (
        "I can't reach the house right now, so I couldn't do that."
    ),
    ("home_assistant", "dropped"): (
        "I lost the connection to the house, so I can't be sure that was done."
    ),
    ("home_assistant", "timed_out"): (
        "The house is taking too long to answer, so I can't be sure that was done."
    ),
    ("home_assistant", "no_intent_match"): "Sorry, I don't know how to do that in the house.",
    ("home_assistant", "no_valid_targets"): "Sorry, I couldn't find that in the house.",
    ("home_assistant", "failed_to_handle"): "Sorry, the house couldn't do that.",
    ("llm", "not_configured"): (
        "Sorry, I can only help with the house, the time and things you told me."
    ),
    ("llm", "dependency_down"): (
        "I can't get an answer to that right now. The house, the time and your notes still work."
    ),
    ("llm", "timed_out"): "That is taking me too long. Please ask me again later.",
    ("llm", "empty"): "I don't have an answer to that.",
    ("memory", "dependency_down"): "I couldn't write that down. Please tell me again later.",
    ("memory", "unreadable"): "I can't look at my notes right now.",
}


def spoken(dependency: str, code: str) -> str:
    """Return what to say when `dependency` failed with `code`."""
    return _SPOKEN.get((dependency, code)) or _SPOKEN.get((dependency, "dependency_down"), _GENERAL)


def code_of(error: BarnabeeError) -> str:
    """Return the code to speak: `dropped` when the request may have been carried out."""
    return "dropped" if error.fields.get("sent") else error.code
