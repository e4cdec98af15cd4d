"""The weather, by the sentences that ask for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from barnabee.skills import weather
from support.home import FakeHome
from support.skills import NOW, SkillDialogue

DAYS = (
    ("partlycloudy", 14.0, 8.0, 20),
    ("rainy", 12.0, 7.0, 80),
    ("snowy", 1.0, -3.0, 40),
    ("sunny", 16.0, 5.0, 0),
)


def make_forecast() -> dict[str, object]:
    today = NOW.replace(hour=0, minute=0)
    return {
        "forecast": [
            {
                "datetime": (today + timedelta(days=ahead)).isoformat(),
                "condition": condition,
                "temperature": high,
                "templow": low,
                "precipitation_probability": chance,
            }
            for ahead, (condition, high, low, chance) in enumerate(DAYS)
        ]
    }


@pytest.fixture
def home() -> FakeHome:
    home = FakeHome()
    home.add("weather.home", "Home", "partlycloudy", temperature=12.5)
    home.responses["weather.get_forecasts"] = {"weather.home": make_forecast()}
    return home


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        ("what's the weather like?", ("partly cloudy and 12.5 degrees", "8 to 14", "20 percent")),
        ("how's the weather outside", ("partly cloudy",)),
        ("what's the weather like tomorrow", ("Tomorrow: rain", "7 to 12 degrees", "80 percent")),
        ("weather forecast for tomorrow", ("Tomorrow: rain",)),
        ("what will the weather be on Tuesday", ("Tuesday: sunny", "5 to 16")),
        ("what's the weather this weekend", ("Today: partly cloudy", "Tomorrow: rain")),
        ("will it rain today", ("No", "20 percent")),
        ("is it going to rain tomorrow", ("Yes", "80 percent")),
        ("do I need an umbrella", ("No, you won't need one",)),
        ("do we need an umbrella tomorrow", ("Yes, take one",)),
        ("will it snow on Monday", ("Yes", "-3 to 1 degree")),
        ("will it snow tomorrow", ("No snow",)),
        ("will it be sunny on Tuesday", ("Yes", "sunny")),
        ("do I need a coat tomorrow", ("7 to 12 degrees",)),
        ("how cold is it outside?", ("12.5 degrees outside",)),
        ("what's the weather in Paris", ("only know the weather at home",)),
        ("is it going to freeze on Monday", ("-3 to 1 degree",)),
    ],
)
async def test_the_weather_is_told_as_asked(
    home: FakeHome, sentence: str, parts: tuple[str, ...]
) -> None:
    answer = await SkillDialogue([weather.SKILL], home).say(sentence)
    assert answer is not None
    assert [part for part in parts if part not in answer.text] == [], answer.text


async def test_the_thermometer_outside_goes_before_the_weather_service(home: FakeHome) -> None:
    home.add("sensor.a", "Freezer", "-18", device_class="temperature")
    home.add("sensor.b", "Thermometer", "9.0", area="garden", device_class="temperature")
    answer = await SkillDialogue([weather.SKILL], home).say("how cold is it outside")
    assert answer is not None
    assert answer.text == "It's 9 degrees outside."


@pytest.mark.parametrize(
    ("sentence", "part"),
    [
        ("what's the weather next Saturday", "until Tuesday"),
        ("what's the weather on the first of January", "until Tuesday"),
    ],
)
async def test_a_day_beyond_the_forecast_is_not_invented(
    home: FakeHome, sentence: str, part: str
) -> None:
    answer = await SkillDialogue([weather.SKILL], home).say(sentence)
    assert answer is not None
    assert part in answer.text


async def test_a_service_without_forecasts_tells_the_weather_of_now(home: FakeHome) -> None:
    home.refusals["weather.get_forecasts"] = "not supported"
    answer = await SkillDialogue([weather.SKILL], home).say("what's the weather tomorrow")
    assert answer is not None
    assert "no forecast" in answer.text
    assert "12.5" in answer.text


@pytest.mark.parametrize("sentence", ["what's the weather like?", "will it rain", "forecast"])
async def test_without_a_weather_service_the_reply_says_what_to_add(sentence: str) -> None:
    answer = await SkillDialogue([weather.SKILL], FakeHome()).say(sentence)
    assert answer is not None
    assert answer.text == weather.NO_WEATHER


async def test_an_unavailable_service_is_named(home: FakeHome) -> None:
    home.add("weather.home", "Home", "unavailable")
    answer = await SkillDialogue([weather.SKILL], home).say("what's the weather")
    assert answer is not None
    assert "not available" in answer.text
