"""Games of chance and jokes: coins, dice, random numbers, choices."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.spoken_forms import join_spoken

MAX_DICE, MAX_SIDES, MAX_NUMBER = 20, 1000, 10**12
_SIX, _RECENT = 6, 10


def flip_coin(call: SkillCall, context: SkillContext) -> str:
    return f"It's {context.random.choice(('heads', 'tails'))}."


def roll_dice(call: SkillCall, context: SkillContext) -> str | None:
    count, sides = call.slots.get("count", 1), call.slots.get("sides", _SIX)
    if count != int(count) or sides != int(sides) or count < 1 or sides < 2:  # noqa: PLR2004
        return None
    if count > MAX_DICE or sides > MAX_SIDES:
        return f"I only have {MAX_DICE} dice, of at most {MAX_SIDES} sides."
    rolled = [context.random.randint(1, int(sides)) for _ in range(int(count))]
    if len(rolled) == 1:
        return f"You rolled {'an' if rolled[0] in {8, 11, 18} else 'a'} {rolled[0]}."
    return f"You rolled {join_spoken(list(map(str, rolled)))}. That's {sum(rolled)} in all."


def roll_pair(call: SkillCall, context: SkillContext) -> str | None:
    return roll_dice(SkillCall("roll_dice", {"count": 2}, call.text), context)


def pick_number(call: SkillCall, context: SkillContext) -> str | None:
    low, high = call.slots.get("low", 1), call.slots.get("high", 10)
    low, high = min(low, high), max(low, high)
    if low != int(low) or high != int(high) or max(abs(low), abs(high)) > MAX_NUMBER:
        return "I can only pick whole numbers that are not too large."
    return f"I picked {context.random.randint(int(low), int(high))}."


def choose(call: SkillCall, context: SkillContext) -> str | None:
    choices = [
        choice.strip(" ,")
        for choice in re.split(r",|\bor\b|\band\b", call.slots["choices"])
        if choice.strip(" ,")
    ]
    return f"I say {context.random.choice(choices)}." if len(choices) > 1 else None


def tell_another(call: SkillCall, context: SkillContext) -> str | None:
    """Tell a joke if the last reply was one."""
    is_joke = bool(context.history) and context.history[-1].reply in _read_jokes()
    return tell_joke(call, context) if is_joke else None


def tell_joke(call: SkillCall, context: SkillContext) -> str:
    """Return a joke that was not among the last replies."""
    recent = {exchange.reply for exchange in context.history[-_RECENT:]}
    jokes = [joke for joke in _read_jokes() if joke not in recent]
    return context.random.choice(jokes or list(_read_jokes()))


@cache
def _read_jokes() -> tuple[str, ...]:
    text = Path(__file__).with_name("jokes.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["jokes"])


_ANSWERS: Mapping[str, Callable[[SkillCall, SkillContext], str | None]] = {
    "flip_coin": flip_coin,
    "roll_dice": roll_dice,
    "roll_pair": roll_pair,
    "pick_number": pick_number,
    "choose": choose,
    "joke": tell_joke,
    "another_joke": tell_another,
}


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    text = _ANSWERS[call.intent](call, context)
    return None if text is None else SkillReply(text)


SKILL = Skill(
    "games",
    (
        SkillIntent(
            "flip_coin",
            "flip a coin",
            (
                "(flip|toss|throw) (a|the|my) coin [(again|for me)]",
                "heads or tails",
                "coin (flip|toss)",
            ),
        ),
        SkillIntent(
            "roll_dice",
            "roll dice",
            (
                "(roll|throw) (a|the|my) (die|dice) [(again|for me)]",
                "(roll|throw) {count} (die|dice) [for me]",
                "(roll|throw) (a|an) {sides} sided (die|dice)",
                "(roll|throw) {count} {sides} sided (die|dice)",
                "[a] (dice|die) roll",
            ),
            {
                "count": Slot("number", "how many dice", is_required=False),
                "sides": Slot("number", "sides of each", is_required=False),
            },
        ),
        SkillIntent("roll_pair", "roll two dice", ("(roll|throw) [(some|a pair of|both)] dice",)),
        SkillIntent(
            "pick_number",
            "pick a number",
            (
                (
                    "(pick|choose|give me|tell me|say|think of|generate) [me] a [random] number "
                    "(between|from) {low} (and|to) {high}"
                ),
                (
                    "(pick|choose|give me|tell me|say|think of|generate) [me] a [random] number "
                    "[up] to {high}"
                ),
                "(pick|choose|give me|tell me|say|think of|generate) [me] a [random] number",
                "[a] random number [(between|from)] {low} (and|to) {high}",
                "[a] random number",
            ),
            {
                "low": Slot("number", "the least", is_required=False),
                "high": Slot("number", "the greatest", is_required=False),
            },
        ),
        SkillIntent(
            "choose",
            "choose for you",
            (
                "(choose|pick|decide) [(one of|between)] {choices}",
                "help me (choose|decide) between {choices}",
            ),
            {"choices": Slot(description="the choices, with 'or' between them")},
        ),
        SkillIntent("another_joke", "tell you another joke", ("[(tell me|one|and)] another one",)),
        SkillIntent(
            "joke",
            "tell you a joke",
            (
                (
                    "tell [(me|us)] (a|another|one more|the next) "
                    "[(good|funny|new|better|dad|silly)] joke"
                ),
                (
                    "(say|do you know|have you got|i want|i want to hear|know) (a|any|something) "
                    "[(good|funny)] (joke|jokes|funny)"
                ),
                "[tell] [(me|us)] something funny",
                "(another|one more) joke",
                "make (me|us) laugh",
                "tell [(me|us)] [some] jokes",
            ),
        ),
    ),
    handle,
)
