"""The base of all devices, and those that are read: sensors, the weather and the calendar."""
# mypy: disable-error-code="import-not-found", allow-subclassing-any

from __future__ import annotations

import asyncio
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

from homeassistant.components.calendar import (
    CalendarEntity,
    CalendarEntityFeature,
    CalendarEvent,
)
from homeassistant.components.notify import ATTR_TITLE, BaseNotificationService
from homeassistant.components.sensor import SensorEntity, SensorStateClass
from homeassistant.components.weather import Forecast, WeatherEntity, WeatherEntityFeature
from homeassistant.const import UnitOfSpeed, UnitOfTemperature
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.entity import Entity
from homeassistant.util import dt

_WEEK = timedelta(days=7)


class Device(Entity):
    """A device whose state is `self.values`, stored by Home Assistant."""

    _attr_should_poll = False

    def __init__(self, description: dict[str, Any]) -> None:
        """Take the description from home.toml."""
        self.description = description
        self.values: dict[str, Any] = description["values"]
        self.entity_id = description["entity_id"]
        self._attr_unique_id = f"demo_home_{self.entity_id.partition('.')[2]}"
        self._attr_name = description["name"]
        self._attr_available = description.get("available", True)
        self._attr_device_class = description.get("device_class")

    async def change(self, **values: object) -> None:
        """Carry out a command: after the device's delay, or not at all if it `fails`."""
        if reason := self.description.get("fails"):
            raise HomeAssistantError(reason)
        await asyncio.sleep(self.description.get("delay_s", 0))
        self.values.update({name: value for name, value in values.items() if value is not None})
        self.async_write_ha_state()
        self.description["save"]()


class Phone(BaseNotificationService):
    """A phone that writes its notifications to a file."""

    def __init__(self, file: Path) -> None:
        """Take the file, which is created by the first notification."""
        self._file = file

    async def async_send_message(self, message: str = "", **options: Any) -> None:
        """Append the title and the message."""
        title = options.get(ATTR_TITLE) or ""
        await self.hass.async_add_executor_job(self._append, f"{title}\n{message}\n")

    def _append(self, text: str) -> None:
        self._file.parent.mkdir(exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(text)


class Sensor(Device, SensorEntity):
    """A measured value, which stays as it is."""

    _attr_state_class = SensorStateClass.MEASUREMENT

    def __init__(self, description: dict[str, Any]) -> None:
        """Set the unit."""
        super().__init__(description)
        self._attr_native_unit_of_measurement = description["unit"]

    @property
    def native_value(self) -> float:
        value: float = self.values["value"]
        return value


class Weather(Device, WeatherEntity):
    """The same weather every day, so that answers can be compared."""

    _attr_native_temperature_unit = UnitOfTemperature.CELSIUS
    _attr_native_wind_speed_unit = UnitOfSpeed.KILOMETERS_PER_HOUR
    _attr_supported_features = WeatherEntityFeature.FORECAST_DAILY

    def __init__(self, description: dict[str, Any]) -> None:
        """Show the weather of home.toml."""
        super().__init__(description)
        self._attr_condition = self.values["condition"]
        self._attr_native_temperature = self.values["temperature"]
        self._attr_humidity = self.values["humidity"]
        self._attr_native_wind_speed = self.values["wind"]

    async def async_forecast_daily(self) -> list[Forecast]:
        today = dt.start_of_local_day()
        return [
            Forecast(
                datetime=(today + timedelta(days=day)).isoformat(),
                condition=condition,
                native_temperature=highest,
                native_templow=lowest,
                precipitation_probability=chance,
            )
            for day, (condition, highest, lowest, chance) in enumerate(self.description["forecast"])
        ]


class Calendar(Device, CalendarEntity):
    """Weekly events of home.toml, and those that were added."""

    _attr_supported_features = CalendarEntityFeature.CREATE_EVENT

    @property
    def event(self) -> CalendarEvent | None:
        """Return the event that is on, or the next one."""
        now = dt.now()
        return next((event for event in self._events(now, now + _WEEK) if event.end > now), None)

    async def async_get_events(
        self,
        hass: HomeAssistant,  # noqa: ARG002 - Home Assistant's interface
        start_date: datetime,
        end_date: datetime,
    ) -> list[CalendarEvent]:
        """Return the events of a time span, for the calendar page and the service."""
        return self._events(start_date, end_date)

    async def async_create_event(self, **fields: Any) -> None:
        added = {
            "summary": fields["summary"],
            "start": fields["dtstart"].isoformat(),
            "end": fields["dtend"].isoformat(),
        }
        await self.change(added=[*self.values.get("added", []), added])

    def _events(self, start: datetime, end: datetime) -> list[CalendarEvent]:
        found = [event for event in self._weekly(start, end) if event.end > start]
        found += [
            event
            for one in self.values.get("added", [])
            if (event := _make_event(one)).start_datetime_local < end
            and event.end_datetime_local > start
        ]
        return sorted(found, key=lambda event: event.start_datetime_local)

    def _weekly(self, start: datetime, end: datetime) -> list[CalendarEvent]:
        found = []
        day = dt.start_of_local_day(start) - timedelta(days=1)
        while day < end:
            for weekday, clock, minutes, summary in self.description["entries"]:
                begins = datetime.combine(day, time.fromisoformat(clock), day.tzinfo)
                if weekday == day.weekday() and begins < end:
                    ends = begins + timedelta(minutes=minutes)
                    found.append(CalendarEvent(start=begins, end=ends, summary=summary))
            day = dt.start_of_local_day(day + timedelta(hours=36))  # days of 23 and 25 hours exist
        return found


def _make_event(added: dict[str, str]) -> CalendarEvent:
    """Return a stored event; it lasts whole days where its times are dates."""
    times = (added["start"], added["end"])
    start, end = (dt.parse_datetime(one) if "T" in one else dt.parse_date(one) for one in times)
    return CalendarEvent(start=start, end=end, summary=added["summary"])
