"""Weather: now and in the coming days, rain, and the temperature outside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta

from barnabee.core.errors import HomeRefused
from barnabee.understanding.entity_lookup import NOT_CONNECTED, find_area, list_entities
from barnabee.understanding.interfaces import Entity, Home, HomeControl
from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.weather_report import (
    DayForecast,
    answer_condition,
    answer_rain,
    describe_day,
    describe_now,
    parse_forecasts,
    say_degrees,
)
from barnabee.understanding.words import fold_name

NO_WEATHER = (
    "I don't know the weather. Add a weather service in Home Assistant and expose it to Assist."
)
_NO_PLACE = re.compile(
    r"\b(?:morning|afternoon|evening|night|here|house|home|room)\b", re.IGNORECASE
)
_WEEK = 7
_SATURDAY = 5
_OUTDOORS = re.compile(r"\b(?:outside|outdoors?|garden|balcony|terrace|patio|yard|exterior)\b")


def find_outside_sensor(home: Home) -> Entity | None:
    """Return the sensor of the temperature outside, by its name or its area."""
    for entity in list_entities(home, "sensor"):
        area = home.areas.get(entity.area_id or "")
        names = (*entity.names, *(area.names if area else ()))
        is_temperature = entity.attributes.get("device_class") == "temperature"
        if is_temperature and entity.is_available and any(map(_is_outdoors, names)):
            return entity
    return None


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    if context.home is None:
        return NOT_CONNECTED
    home = await context.home.read_home()
    if call.intent == "weather_elsewhere":
        return _refuse_elsewhere(home, str(call.slots["place"]))
    weather = next((one for one in list_entities(home, "weather") if one.is_available), None)
    if call.intent == "outside_temperature":
        return _tell_temperature(find_outside_sensor(home), weather)
    if weather is None:
        known = list_entities(home, "weather")
        text = "The weather service in Home Assistant is not available." if known else NO_WEATHER
        return SkillReply(text, code="no_valid_targets")
    return await _tell_weather(call, weather, context, context.home)


async def _tell_weather(
    call: SkillCall, weather: Entity, context: SkillContext, home: HomeControl
) -> SkillReply:
    if call.intent == "weather_now":
        return await _tell_now(weather, context, home, call.text)
    days = await _read_days(weather, context, home)
    wanted = _find_days(call, context.now.date())
    found = [one for one in days if one.day in wanted]
    if not found:
        return _tell_unknown(weather, days, wanted, context.now.date())
    return SkillReply(_answer(call, found, context.now.date()), targets=(weather.entity_id,))


async def _read_days(
    weather: Entity, context: SkillContext, home: HomeControl
) -> list[DayForecast]:
    """Return the forecast by days, none where the service has no daily forecast."""
    try:
        found = await home.call_service(
            "weather.get_forecasts", [weather.entity_id], {"type": "daily"}, has_response=True
        )
    except HomeRefused:
        return []
    return parse_forecasts(found.get(weather.entity_id, {}).get("forecast") or (), context.now)


async def _tell_now(
    weather: Entity, context: SkillContext, home: HomeControl, text: str
) -> SkillReply:
    today = context.now.date()
    days = [one for one in await _read_days(weather, context, home) if one.day == today]
    parts = [describe_now(weather, text), *(describe_day(one, today) for one in days)]
    return SkillReply(" ".join(parts), targets=(weather.entity_id,))


def _refuse_elsewhere(home: Home, place: str) -> SkillReply | None:
    """Say that only the weather at home is known; None for a room or a time of day."""
    is_at_home = find_area(home, re.sub(r"^(?:the|my|our)\s+", "", place.lower())) is not None
    if is_at_home or _NO_PLACE.search(place):
        return None
    return SkillReply(f"I only know the weather at home, not in {place}.", code="no_forecast")


def _tell_temperature(sensor: Entity | None, weather: Entity | None) -> SkillReply:
    if sensor is not None:
        unit = str(sensor.attributes.get("unit_of_measurement", ""))
        return SkillReply(
            f"It's {say_degrees(float(sensor.state), unit)} outside.", targets=(sensor.entity_id,)
        )
    degrees = weather.attributes.get("temperature") if weather else None
    if weather is None or degrees is None:
        text = (
            "I don't know how warm it is outside: there is no thermometer outside and no weather "
            "service in Home Assistant that I may read."
        )
        return SkillReply(text, code="no_valid_targets")
    return SkillReply(f"It's {say_degrees(degrees)} outside.", targets=(weather.entity_id,))


def _tell_unknown(
    weather: Entity, days: Sequence[DayForecast], wanted: Sequence[date], today: date
) -> SkillReply:
    if not days:
        text = f"Your weather service gives me no forecast. {describe_now(weather)}"
    elif max(wanted) < today:
        text = "I only know the weather from today on."
    else:
        text = f"I only know the weather until {days[-1].day:%A}."
    return SkillReply(text, code="no_forecast")


def _find_days(call: SkillCall, today: date) -> list[date]:
    """Return the days that the sentence asks about."""
    day = call.slots.get("day")
    if "weekend" in call.text:
        saturday = day or today + timedelta(days=max(_SATURDAY - today.weekday(), 0))
        ahead = [saturday, saturday + timedelta(days=1)]
        return [one for one in ahead if one.weekday() >= _SATURDAY] or [saturday]
    if re.search(r"\b(?:week|next (?:few|couple of) days|coming days)\b", call.text) and not day:
        return [today + timedelta(days=ahead) for ahead in range(_WEEK)]
    return [day or today]


def _answer(call: SkillCall, days: Sequence[DayForecast], today: date) -> str:
    if call.intent == "weather_rain":
        return answer_rain(days, today, call.text)
    if call.intent == "weather_like":
        return answer_condition(days, today, call.text)
    return " ".join(describe_day(one, today) for one in days)


def _is_outdoors(name: str) -> bool:
    return _OUTDOORS.search(fold_name(name)) is not None


_DAY = Slot("date", "The day, for example: tomorrow", is_required=False)
_WHEN = "[on|for] {day}"
_SPAN = "(this week|the next few days|the coming days|the week|the rest of the week|the next days)"
_NOW = "[right now|now|at the moment|outside|out there|currently]"
_WET = "(rain|snow|be rainy|be raining|be wet|pour|hail|be snowing)"
_LIKE = "(sunny|nice|clear|dry|windy|stormy|cold|warm|hot|cool|freezing|chilly)"
_NEED = (
    "(do i need|do we need|do the kids need|do the children need|will i need|will we need"
    "|should i take|should i bring|should i wear|does he need|does she need)"
)

SKILL = Skill(
    name="weather",
    intents=(
        SkillIntent(
            "weather_now",
            "tell you the weather",
            (
                f"(what's|how's|tell me|check) the weather [like] {_NOW}",
                "[the] weather [report]",
                "(what's|how's) it [like] (outside|out there)",
                "(how windy is it|how's the wind|what's the wind) [like] [outside|out|now|today]",
                "(how humid is it|what's the humidity) (outside|out)",
                "(is it|is the weather) (nice|sunny|cloudy|windy|good|bad|foggy) (outside|out|now)",
                "what does it look like outside",
            ),
        ),
        SkillIntent(
            "weather_forecast",
            "tell you the forecast",
            (
                f"(what's|how's) the weather [going to be|gonna be] [like] {_WHEN}",
                f"(what will|how will) the weather be [like] {_WHEN}",
                f"(what's|how's) the weather [looking] [like] [for] {_WHEN}",
                f"(what's|how's) the weather [going to be|gonna be|looking] [like] [for] {_SPAN}",
                f"(what will|how will) the weather be [like] {_SPAN}",
                f"[what's|tell me|give me|read me] [the] [weather] forecast [{_WHEN}|for {_SPAN}]",
                f"[tell me|check] [the] weather {_WHEN}",
                f"(what will|how warm will|how cold will|how hot will) it be [like] {_WHEN}",
                f"(what will|what's) the temperature [be] [going to be] {_WHEN}",
                f"(what will|what's) the (high|low|highest|lowest) [be] {_WHEN}",
                f"how (warm|cold|hot) (will it be|is it going to be|is it) {_WHEN}",
            ),
            {"day": _DAY},
        ),
        SkillIntent(
            "weather_rain",
            "tell you whether it will rain",
            (
                f"(will it|is it going to|is it gonna) {_WET} [{_WHEN}]",
                f"(will it|is it going to|is it gonna) {_WET} (this week|later|soon)",
                "(is it|is it still) (raining|snowing|pouring) [outside|out|now|right now]",
                f"(will there be|is there going to be|is there) [any] (rain|snow) [{_WHEN}]",
                f"what's the chance of rain [{_WHEN}]",
                f"{_NEED} (an umbrella|my umbrella|a raincoat|a rain jacket) [{_WHEN}]",
                f"{_NEED} (umbrellas|raincoats|rain jackets|wellies|rain boots) [{_WHEN}]",
            ),
            {"day": _DAY},
        ),
        SkillIntent(
            "weather_like",
            "tell you what the weather will be like",
            (
                f"(will it|is it going to|is it gonna) be {_LIKE} [outside] [{_WHEN}]",
                f"(will it|is it going to|is it gonna) (freeze|storm|clear up) [{_WHEN}]",
                f"(will it|is it going to) be warm enough for shorts [{_WHEN}]",
                f"{_NEED} (a coat|a jacket|coats|jackets|gloves|a hat|a scarf|sunscreen) [{_WHEN}]",
            ),
            {"day": _DAY},
        ),
        SkillIntent(
            "weather_elsewhere",
            "tell you the weather of another place",
            (
                "[what's|how's] [the] weather [forecast] [like] (in|for) {place}",
                f"[what's|how's] [the] weather [forecast] [like] (in|for) {{place}} {_WHEN}",
                "(is it raining|will it rain) in {place}",
            ),
            {"place": Slot(description="The place, for example: Paris"), "day": _DAY},
        ),
        SkillIntent(
            "outside_temperature",
            "tell you the temperature outside",
            (
                "how (cold|warm|hot) is it (outside|out|out there|outdoors) [right now|now|today]",
                "(what's|tell me) the (temperature|temp) (outside|outdoors|out there) [now]",
                "(what's|tell me) the (temperature|temp) (outside|outdoors) right now",
                "(what's|tell me) the (outside|outdoor|outdoors) (temperature|temp)",
                "how many degrees is it (outside|out) [right now]",
                "is it (cold|warm|hot|freezing) (outside|out) [right now|today]",
            ),
        ),
    ),
    handle=handle,
)
