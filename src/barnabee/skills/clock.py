"""The time: now, elsewhere (`time_zones.toml`), after a while, and how long until then."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.spoken_forms import say_duration, say_near_day, say_time
from barnabee.understanding.words import fold_name


def tell_time(call: SkillCall, context: SkillContext) -> str:
    return f"It's {say_time(context.now.time())}."


def tell_time_in_place(call: SkillCall, context: SkillContext) -> str | None:
    place = call.slots["place"]
    if place.lower() in {"here", "our home", "this room", "my area", "our area"}:
        return tell_time(call, context)
    zone = find_zone(place)
    if zone is None and has_several_zones(place):
        return f"There are several time zones in {place}. Ask me for a city there."
    if zone is None:
        return f"I don't know what time it is in {place}. Try a bigger city or the country."
    there = context.now.astimezone(zone)
    distance = (there.date() - context.now.date()).days
    day = {1: " tomorrow", -1: " yesterday"}.get(distance, "")
    return f"It's {say_time(there.time())}{day} in {place}."


def tell_time_later(call: SkillCall, context: SkillContext) -> str:
    then = (context.now.astimezone(UTC) + call.slots["duration"]).astimezone(context.now.tzinfo)
    return f"It will be {_say_time_and_day(then, context.now)}."


def tell_time_earlier(call: SkillCall, context: SkillContext) -> str:
    then = (context.now.astimezone(UTC) - call.slots["duration"]).astimezone(context.now.tzinfo)
    return f"It was {_say_time_and_day(then, context.now)}."


def _say_time_and_day(moment: datetime, now: datetime) -> str:
    if moment.date() == now.date():
        return say_time(moment.time())
    return f"{say_time(moment.time())} {say_near_day(moment.date(), today=now.date())}"


def count_time_until(call: SkillCall, context: SkillContext) -> str:
    now, clock = context.now, call.slots["time"]
    day = now.date() + timedelta(int(clock <= now.time()))
    rest = datetime.combine(day, clock, now.tzinfo).astimezone(UTC) - now.astimezone(UTC)
    if rest >= timedelta(minutes=1):
        rest = timedelta(minutes=round(rest / timedelta(minutes=1)))
    return f"{say_duration(rest).capitalize()}."


_REGIONS = (
    *("Europe", "America", "Asia", "Africa", "Australia", "Pacific", "Atlantic", "Indian"),
    *("America/Argentina", "America/Indiana", "America/Kentucky"),
)
_PLACE = re.compile(r"[a-z][a-z ]{1,40}")


def find_zone(place: str) -> ZoneInfo | None:
    """Return the time zone of `place`, None if it is unknown or has several."""
    name = fold_name(place)
    zone = _read_places()[0].get(name)
    if zone is not None:
        return ZoneInfo(zone)
    if not _PLACE.fullmatch(name):
        return None
    city = name.title().replace(" ", "_")
    zones = (_load_zone(f"{region}/{city}") for region in _REGIONS)
    return next((zone for zone in zones if zone is not None), None)


def has_several_zones(place: str) -> bool:
    """Return whether `place` is a country with several time zones."""
    return fold_name(place) in _read_places()[1]


@cache
def _read_places() -> tuple[dict[str, str], frozenset[str]]:
    text = Path(__file__).with_name("time_zones.toml").read_text(encoding="utf-8")
    places = tomllib.loads(text)
    zones = {fold_name(name): zone for zone, names in places["zone"].items() for name in names}
    return zones, frozenset(map(fold_name, places["several"]["names"]))


def _load_zone(key: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


_DURATION = {"duration": Slot("duration", "how much later or earlier")}
_ANSWERS: Mapping[str, Callable[[SkillCall, SkillContext], str | None]] = {
    "time": tell_time,
    "time_in_place": tell_time_in_place,
    "time_later": tell_time_later,
    "time_earlier": tell_time_earlier,
    "time_until": count_time_until,
}


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    text = _ANSWERS[call.intent](call, context)
    return None if text is None else SkillReply(text)


SKILL = Skill(
    "clock",
    (
        SkillIntent(
            "time",
            "tell you the time",
            (
                "(what|which) time is it [right] [now]",
                "what is the [(current|exact)] time [right] [now]",
                "(tell me|say|give me|read) [what] [the] [current] time [it is]",
                "what time (do you have|have you got|have we got)",
                "(do you have|have you got|got) the time",
                "do you know (what time it is|the time)",
                "how late is it [now]",
                "[the] [current] time",
            ),
        ),
        SkillIntent(
            "time_in_place",
            "tell you the time in another place",
            (
                "what time is it [right] [now] in {place} [right] [now]",
                "what is the [(current|local)] time in {place} [right] [now]",
                "tell me [what] [the] [current] time [it is] in {place}",
                "[the] [current] time in {place}",
                "how late is it in {place}",
            ),
            {"place": Slot(description="a city or country")},
        ),
        SkillIntent(
            "time_later",
            "tell you the time after a while",
            (
                "what time (will it be|is it) in {duration}",
                "what time is it {duration} from now",
            ),
            _DURATION,
        ),
        SkillIntent(
            "time_earlier",
            "tell you the time a while ago",
            ("what time was it {duration} ago",),
            _DURATION,
        ),
        SkillIntent(
            "time_until",
            "tell you how long it is until a time",
            (
                "how long [is it] (until|till|to) {time}",
                (
                    "how (many hours|many minutes|much time) "
                    "[(is it|are there|is there|are left|left)] (until|till|to|before) {time}"
                ),
            ),
            {"time": Slot("time", "the time, like 'half past seven' or 'midnight'")},
        ),
    ),
    handle,
)
