"""Weather reports in sentences. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from barnabee.understanding.entity_lookup import join_names
from barnabee.understanding.interfaces import Entity

_CONDITIONS = {
    "clear-night": "clear",
    "exceptional": "unusual",
    "fog": "foggy",
    "hail": "hail",
    "lightning": "thunder",
    "lightning-rainy": "thunderstorms",
    "partlycloudy": "partly cloudy",
    "pouring": "heavy rain",
    "rainy": "rain",
    "snowy": "snow",
    "snowy-rainy": "sleet",
    "windy-variant": "windy",
}
_RAIN = frozenset(("rainy", "pouring", "lightning-rainy", "hail", "snowy-rainy"))
_SNOW = frozenset(("snowy", "snowy-rainy"))
_SUN = frozenset(("sunny", "clear-night", "partlycloudy"))
_STORM = frozenset(("lightning", "lightning-rainy", "windy", "windy-variant", "hail"))
_LIKELY = 50  # percent
_UMBRELLA = re.compile(r"\b(?:umbrella|raincoat|rain coat|rain jacket|wellies|rain boots)\b")


@dataclass(frozen=True, slots=True)
class DayForecast:
    """Forecast of one day; None for what the service does not say."""

    day: date
    condition: str | None
    high: float | None
    low: float | None
    rain_chance: float | None

    @property
    def is_rainy(self) -> bool:
        if self.rain_chance is not None:
            return self.rain_chance >= _LIKELY
        return self.condition in _RAIN


def parse_forecasts(entries: Sequence[Mapping[str, Any]], now: datetime) -> list[DayForecast]:
    """Return the days of a daily forecast of Home Assistant, in the time zone of `now`."""
    days = []
    for entry in entries:
        moment = datetime.fromisoformat(entry["datetime"])
        day = moment.astimezone(now.tzinfo) if moment.tzinfo is not None else moment
        days.append(
            DayForecast(
                day.date(),
                entry.get("condition"),
                entry.get("temperature"),
                entry.get("templow"),
                entry.get("precipitation_probability"),
            )
        )
    return days


def describe_now(entity: Entity, text: str = "") -> str:
    """Return the weather of the moment; wind and humidity if `text` asks for them."""
    parts = [_say_condition(entity.state)]
    read = entity.attributes.get
    if (degrees := read("temperature")) is not None:
        parts.append(say_degrees(degrees))
    if re.search(r"\bwindy?\b", text) and (speed := read("wind_speed")) is not None:
        parts.append(f"the wind is {_say_number(speed)} {read('wind_speed_unit', '')}".rstrip())
    if re.search(r"\bhumid", text) and (humidity := read("humidity")) is not None:
        parts.append(f"the humidity is {_say_number(humidity)} percent")
    return f"It's {join_names(parts)} outside."


def describe_day(forecast: DayForecast, today: date) -> str:
    """Return the forecast of one day in one sentence."""
    parts = [_say_condition(forecast.condition)] if forecast.condition else []
    if forecast.high is not None and forecast.low is not None:
        parts.append(f"{_say_number(forecast.low)} to {say_degrees(forecast.high)}")
    elif forecast.high is not None:
        parts.append(f"up to {say_degrees(forecast.high)}")
    if forecast.rain_chance is not None:
        parts.append(f"{_say_number(forecast.rain_chance)} percent chance of rain")
    return f"{_say_day(forecast.day, today)}: {', '.join(parts)}."


def answer_rain(forecasts: Sequence[DayForecast], today: date, text: str) -> str:
    """Return whether to expect what `text` asks about on any of these days."""
    if "snow" in text:
        return _answer_condition(forecasts, today, _SNOW, "snow")
    rainy = [one for one in forecasts if one.is_rainy]
    shown = rainy or [max(forecasts, key=lambda one: one.rain_chance or 0)]
    opening = "Yes" if rainy else "No"
    if _UMBRELLA.search(text):
        opening = "Yes, take one" if rainy else "No, you won't need one"
    chances = [one for one in shown if one.rain_chance is not None]
    if not chances:
        days = join_names([_say_on_day(one.day, today) for one in shown])
        return f"{opening}. {'Rain' if rainy else 'No rain'} is forecast {days}."
    said = [
        f"{_say_number(one.rain_chance or 0)} percent {_say_on_day(one.day, today)}"
        for one in chances
    ]
    return f"{opening}. The chance of rain is {join_names(said)}."


def answer_condition(days: Sequence[DayForecast], today: date, text: str) -> str:
    """Return whether it will be as `text` asks; how cold is cold, the figures say."""
    if re.search(r"\b(?:sunny|nice|clear|dry)\b", text):
        return _answer_condition(days, today, _SUN, "sun")
    if re.search(r"\b(?:windy|stormy)\b", text):
        return _answer_condition(days, today, _STORM, "storm")
    return " ".join(describe_day(one, today) for one in days)


def _answer_condition(
    days: Sequence[DayForecast], today: date, wanted: frozenset[str], name: str
) -> str:
    has_any = any(one.condition in wanted for one in days)
    opening = "Yes" if has_any else f"No {name} is forecast"
    return f"{opening}. {' '.join(describe_day(one, today) for one in days)}"


def _say_condition(condition: str | None) -> str:
    return _CONDITIONS.get(condition or "", condition or "unknown")


def _say_number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def say_degrees(value: float, unit: str = "") -> str:
    scale = " Fahrenheit" if unit.endswith("F") else ""
    return f"{_say_number(value)} {'degree' if value == 1 else 'degrees'}{scale}"


def _say_day(day: date, today: date) -> str:
    shown = {0: "Today", 1: "Tomorrow"}
    return shown.get((day - today).days, f"{day:%A}")


def _say_on_day(day: date, today: date) -> str:
    return f"on {day:%A}" if (day - today).days > 1 else _say_day(day, today).lower()
