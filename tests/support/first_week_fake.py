"""The first week on fakes: the real processing of commands, a fake home, schedule and announcer."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from functools import cache
from typing import Any

from barnabee.api.assistant import make_skills
from barnabee.core import system
from barnabee.store.sessions import Exchange
from barnabee.understanding.command_context import CommandServices, CommandSource
from barnabee.understanding.command_processor import process_command
from barnabee.understanding.home_controller import HomeController
from barnabee.understanding.intent_recognizer import IntentRecognizer, Thresholds
from barnabee.understanding.interfaces import (
    Entity,
    KnownFact,
    ScheduleEntry,
    SentenceEmbedder,
)
from barnabee.understanding.sentence_matcher import SentenceMatcher
from barnabee.up.demo_home.config import read_home_file
from support.first_week import Dialogue
from support.home import FakeHome, ServiceCall, make_demo_home
from support.schedule import FakeSchedule
from support.skills import NOW, FakeAnnouncer, FakeMemory, NoEmbedder

SHOPPING = "todo.shopping_list"
# What the scenes and scripts of configuration.yaml do.
_EFFECTS = {
    "scene.movie_night": {
        "light.living_room_lamp": "on",
        "light.colour_strip": "on",
        "cover.living_room_blinds": "closed",
        "media_player.television": "playing",
    },
    "scene.good_night": {
        "light.kitchen_light": "off",
        "light.living_room_lamp": "off",
        "light.hall_light": "off",
        "light.night_light": "on",
        "cover.bedroom_blinds": "closed",
        "lock.front_door": "locked",
    },
    "script.leave_home": {
        "light.kitchen_light": "off",
        "light.living_room_lamp": "off",
        "light.hall_light": "off",
        "lock.front_door": "locked",
    },
    "script.clean_up": {"vacuum.vacuum_cleaner": "cleaning"},
}


@dataclass
class FakeHousehold:
    """A `Household` of fakes; Home Assistant's conversation agent understands nothing."""

    recognizer: IntentRecognizer
    home: FakeHome = field(default_factory=FakeHome)
    memory: FakeMemory = field(default_factory=FakeMemory)
    schedule: FakeSchedule = field(default_factory=FakeSchedule)
    history: list[Exchange] = field(default_factory=list)
    room: str | None = None

    @property
    def now(self) -> datetime:
        return NOW

    async def reset(self, dialogue: Dialogue) -> None:
        self.home, self.room = make_first_week_home(NOW), dialogue.room
        for entity_id, state in dialogue.before.items():
            self.home.entities[entity_id] = _set_state(self.home.entities[entity_id], state)
        self.memory, self.schedule, self.history = FakeMemory(), FakeSchedule(), []
        self.memory.known = [
            KnownFact(text, None, f"note-{number}") for number, text in enumerate(dialogue.notes)
        ]
        self.services = self._make_services()

    async def say(self, text: str) -> str:
        source = CommandSource(history=self.history, session_id="week", room=self.room)
        outcome = await process_command(text, self.services, source)
        self.history.append(Exchange(text, outcome.reply, outcome.intent, outcome.context))
        return outcome.reply

    async def read_states(self, expected: Mapping[str, str]) -> Mapping[str, Entity]:
        assert expected.keys() <= self.home.entities.keys()
        return dict(self.home.entities)

    async def read_shopping(self) -> Sequence[str]:
        return [item for item, status in self.home.items[SHOPPING].items() if status != "completed"]

    async def read_rings(self) -> Sequence[ScheduleEntry]:
        return await self.schedule.entries()

    def _make_services(self) -> CommandServices:
        controller = HomeController(self.home)
        return CommandServices(
            recognizer=self.recognizer,
            memory=self.memory,
            skills=make_skills({}, controller),
            matcher=_make_matcher(),
            now=lambda _: NOW,
            home=self.home,
            home_controller=controller,
            schedule=self.schedule,
            announcer=FakeAnnouncer(),
        )


@cache
def _make_matcher() -> SentenceMatcher:
    return SentenceMatcher(make_skills({}, None))


def make_recognizer(embedder: SentenceEmbedder | None = None) -> IntentRecognizer:
    thresholds = Thresholds.from_config(system.load_system().intent)
    return IntentRecognizer(embedder or NoEmbedder(), thresholds)


def make_first_week_home(now: datetime) -> FakeHome:
    """Return the demo home, with its scenes, weather and calendar."""
    home = make_demo_home()
    home.effects = dict(_EFFECTS)
    home.refusals["switch.dishwasher"] = "the dishwasher does not answer"
    devices = tomllib.loads(read_home_file())["device"]
    home.responses["weather.get_forecasts"] = _make_forecast(devices["weather.home"], now)
    entries = devices["calendar.family"]["entries"]
    home.responses["calendar.get_events"] = lambda call: _make_events(entries, call)
    return home


def _make_forecast(device: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    today = datetime.combine(now.date(), time(), now.tzinfo)
    days = [
        {
            "datetime": (today + timedelta(days=ahead)).isoformat(),
            "condition": condition,
            "temperature": high,
            "templow": low,
            "precipitation_probability": chance,
        }
        for ahead, (condition, high, low, chance) in enumerate(device["forecast"])
    ]
    return {"weather.home": {"forecast": days}}


def _make_events(entries: Sequence[Sequence[Any]], call: ServiceCall) -> dict[str, Any]:
    start, end = (
        datetime.fromisoformat(call.data[f"{which}_date_time"]) for which in ("start", "end")
    )
    events = []
    for ahead in range((end.date() - start.date()).days + 1):
        day = start.date() + timedelta(days=ahead)
        for weekday, clock, minutes, summary in entries:
            begins = datetime.combine(day, time.fromisoformat(clock), start.tzinfo)
            ends = begins + timedelta(minutes=minutes)
            if weekday == day.weekday() and begins < end and ends > start:
                times = {"start": begins.isoformat(), "end": ends.isoformat()}
                events.append({**times, "summary": summary})
    return {"calendar.family": {"events": events}}


def _set_state(entity: Entity, text: str) -> Entity:
    """Return the entity in the state that `text` writes like `on brightness=100`."""
    state, *pairs = text.split()
    attributes = {**entity.attributes, **{name: float(value) for name, value in _split(pairs)}}
    if entity.domain == "cover":
        attributes["current_position"] = 0 if state == "closed" else 100
    if entity.domain == "light" and state == "on" and "onoff" not in _modes(entity):
        attributes.setdefault("brightness", 255)
    return replace(entity, state=state, attributes=attributes)


def _split(pairs: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (pair.partition("=") for pair in pairs)]


def _modes(entity: Entity) -> Sequence[str]:
    modes: Sequence[str] = entity.attributes.get("supported_color_modes", ())
    return modes
