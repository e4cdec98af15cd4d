"""Devices that are controlled: lights, switches, fans, covers, locks, heating, vacuum and media."""
# mypy: disable-error-code="import-not-found", allow-subclassing-any

from __future__ import annotations

from typing import Any

from homeassistant.components.climate import ClimateEntity, ClimateEntityFeature, HVACMode
from homeassistant.components.cover import CoverEntity, CoverEntityFeature
from homeassistant.components.fan import FanEntity, FanEntityFeature
from homeassistant.components.light import ColorMode, LightEntity
from homeassistant.components.lock import LockEntity
from homeassistant.components.media_player import (
    MediaPlayerEntity,
    MediaPlayerEntityFeature,
    MediaPlayerState,
)
from homeassistant.components.switch import SwitchEntity
from homeassistant.components.vacuum import StateVacuumEntity, VacuumEntityFeature
from homeassistant.const import UnitOfTemperature

from .device import Device

try:
    from homeassistant.components.vacuum import VacuumActivity
except ImportError:  # before Home Assistant 2025.1 the state is a plain string
    VacuumActivity = None

_OPEN = 100


class Light(Device, LightEntity):
    """A light that is only switched, dimmed, or coloured, by `mode`."""

    def __init__(self, description: dict[str, Any]) -> None:
        """Set the one colour mode of this light."""
        super().__init__(description)
        self._attr_color_mode = ColorMode(description.get("mode", "onoff"))
        self._attr_supported_color_modes = {self._attr_color_mode}

    @property
    def is_on(self) -> bool:
        return bool(self.values.get("on"))

    @property
    def brightness(self) -> int | None:
        if self._attr_color_mode == ColorMode.ONOFF:
            return None
        return int(self.values.get("brightness", 255))

    @property
    def hs_color(self) -> tuple[float, float] | None:
        if self._attr_color_mode != ColorMode.HS:
            return None
        hue, saturation = self.values.get("hs", (30.0, 60.0))
        return hue, saturation

    async def async_turn_on(
        self,
        brightness: int | None = None,
        hs_color: tuple[float, float] | None = None,
        **_: object,
    ) -> None:
        await self.change(on=True, brightness=brightness, hs=hs_color)

    async def async_turn_off(self, **_: object) -> None:
        await self.change(on=False)


class Switch(Device, SwitchEntity):
    """A plug that is on or off."""

    @property
    def is_on(self) -> bool:
        return bool(self.values.get("on"))

    async def async_turn_on(self, **_: object) -> None:
        await self.change(on=True)

    async def async_turn_off(self, **_: object) -> None:
        await self.change(on=False)


class Fan(Device, FanEntity):
    """A fan with speeds in percent."""

    # TURN_ON and TURN_OFF exist since Home Assistant 2024.8.
    _attr_supported_features = (
        FanEntityFeature.SET_SPEED
        | getattr(FanEntityFeature, "TURN_ON", 0)
        | getattr(FanEntityFeature, "TURN_OFF", 0)
    )

    @property
    def percentage(self) -> int:
        return int(self.values.get("percentage", 0))

    async def async_set_percentage(self, percentage: int) -> None:
        await self.change(percentage=percentage)

    async def async_turn_on(self, percentage: int | None = None, *_: object, **__: object) -> None:
        await self.change(percentage=_OPEN if percentage is None else percentage)

    async def async_turn_off(self, **_: object) -> None:
        await self.change(percentage=0)


class Cover(Device, CoverEntity):
    """Blinds, an awning or the garage: 0 is closed, 100 open. It moves at once."""

    _attr_supported_features = (
        CoverEntityFeature.OPEN | CoverEntityFeature.CLOSE | CoverEntityFeature.SET_POSITION
    )

    @property
    def current_cover_position(self) -> int:
        return int(self.values.get("position", _OPEN))

    @property
    def is_closed(self) -> bool:
        return self.current_cover_position == 0

    async def async_open_cover(self, **_: object) -> None:
        await self.change(position=_OPEN)

    async def async_close_cover(self, **_: object) -> None:
        await self.change(position=0)

    async def async_set_cover_position(self, position: int, **_: object) -> None:
        await self.change(position=position)


class Lock(Device, LockEntity):
    """A lock that has no key."""

    @property
    def is_locked(self) -> bool:
        return bool(self.values["locked"])

    async def async_lock(self, **_: object) -> None:
        await self.change(locked=True)

    async def async_unlock(self, **_: object) -> None:
        await self.change(locked=False)


class Climate(Device, ClimateEntity):
    """A thermostat. The room keeps its temperature, so that answers can be compared."""

    _attr_hvac_modes = (HVACMode.HEAT, HVACMode.OFF)
    _attr_temperature_unit = UnitOfTemperature.CELSIUS
    _attr_min_temp, _attr_max_temp, _attr_target_temperature_step = 5.0, 30.0, 0.5
    _attr_supported_features = (
        ClimateEntityFeature.TARGET_TEMPERATURE
        | ClimateEntityFeature.TURN_ON
        | ClimateEntityFeature.TURN_OFF
    )
    _enable_turn_on_off_backwards_compatibility = False  # Home Assistant 2024.3 warns without it

    @property
    def hvac_mode(self) -> HVACMode:
        return HVACMode(self.values["mode"])

    @property
    def target_temperature(self) -> float:
        return float(self.values["target"])

    @property
    def current_temperature(self) -> float:
        return float(self.values["current"])

    async def async_set_temperature(self, temperature: float | None = None, **_: object) -> None:
        await self.change(target=temperature)

    async def async_set_hvac_mode(self, hvac_mode: str) -> None:
        await self.change(mode=str(hvac_mode))

    async def async_turn_on(self) -> None:
        await self.change(mode="heat")

    async def async_turn_off(self) -> None:
        await self.change(mode="off")


class Vacuum(Device, StateVacuumEntity):
    """A vacuum cleaner that arrives where it is sent at once."""

    _attr_supported_features = (
        VacuumEntityFeature.STATE
        | VacuumEntityFeature.START
        | VacuumEntityFeature.STOP
        | VacuumEntityFeature.PAUSE
        | VacuumEntityFeature.RETURN_HOME
    )

    def __init__(self, description: dict[str, Any]) -> None:
        """Show the stored state."""
        super().__init__(description)
        self._show(self.values.get("state", "docked"))

    def _show(self, state: str) -> None:
        if VacuumActivity is None:
            self._attr_state = state
        else:
            self._attr_activity = VacuumActivity(state)

    async def _go(self, state: str) -> None:
        self._show(state)
        await self.change(state=state)

    async def async_start(self) -> None:
        await self._go("cleaning")

    async def async_pause(self) -> None:
        await self._go("paused")

    async def async_stop(self, **_: object) -> None:
        await self._go("idle")

    async def async_return_to_base(self, **_: object) -> None:
        await self._go("docked")


class MediaPlayer(Device, MediaPlayerEntity):
    """A player whose sources are channels; the title is the channel."""

    _attr_supported_features = (
        MediaPlayerEntityFeature.TURN_ON
        | MediaPlayerEntityFeature.TURN_OFF
        | MediaPlayerEntityFeature.PLAY
        | MediaPlayerEntityFeature.PAUSE
        | MediaPlayerEntityFeature.STOP
        | MediaPlayerEntityFeature.NEXT_TRACK
        | MediaPlayerEntityFeature.SELECT_SOURCE
        | MediaPlayerEntityFeature.VOLUME_SET
        | MediaPlayerEntityFeature.VOLUME_MUTE
    )

    @property
    def state(self) -> MediaPlayerState:
        return MediaPlayerState(self.values["state"])

    @property
    def source_list(self) -> list[str]:
        return list(self.description["sources"])

    @property
    def source(self) -> str:
        return str(self.values["source"])

    @property
    def media_title(self) -> str:
        return self.source

    @property
    def volume_level(self) -> float:
        return float(self.values["volume"])

    @property
    def is_volume_muted(self) -> bool:
        return bool(self.values.get("muted"))

    async def async_turn_on(self) -> None:
        await self.change(state="playing")

    async def async_turn_off(self) -> None:
        await self.change(state="off")

    async def async_media_play(self) -> None:
        await self.change(state="playing")

    async def async_media_pause(self) -> None:
        await self.change(state="paused")

    async def async_media_stop(self) -> None:
        await self.change(state="idle")

    async def async_media_next_track(self) -> None:
        sources = self.source_list
        await self.change(source=sources[(sources.index(self.source) + 1) % len(sources)])

    async def async_select_source(self, source: str) -> None:
        await self.change(source=source, state="playing")

    async def async_set_volume_level(self, volume: float) -> None:
        await self.change(volume=volume)

    async def async_mute_volume(self, mute: bool) -> None:
        await self.change(muted=mute)
