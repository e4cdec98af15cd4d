"""Home Assistant integration of the demo home: creates the devices of home.toml.

It runs inside Home Assistant 2024.3 and 2026.2, as `custom_components/demo_home` of its
configuration directory, and keeps the devices' states in Home Assistant's storage.
"""
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry
from homeassistant.helpers.discovery import async_load_platform
from homeassistant.helpers.entity_platform import AddEntitiesCallback
from homeassistant.helpers.storage import Store

from . import controls, device

DOMAIN = "demo_home"
_HOME_FILE = Path(__file__).with_name("home.toml")
_SAVE_DELAY_S = 0.2
_CLASSES = {
    "calendar": device.Calendar,
    "climate": controls.Climate,
    "cover": controls.Cover,
    "fan": controls.Fan,
    "light": controls.Light,
    "lock": controls.Lock,
    "media_player": controls.MediaPlayer,
    "sensor": device.Sensor,
    "switch": controls.Switch,
    "vacuum": controls.Vacuum,
    "weather": device.Weather,
}


async def async_setup(hass: HomeAssistant, config: dict[str, Any]) -> bool:
    """Load the stored states and start one platform for each kind of device."""
    home = await hass.async_add_executor_job(_read_home)
    store: Store[dict[str, Any]] = Store(hass, 1, DOMAIN)
    states = await store.async_load() or {}

    def save() -> None:
        store.async_delay_save(lambda: states, _SAVE_DELAY_S)

    _forget_template_devices(hass)
    by_platform: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entity_id, listed in home["device"].items():
        values = states[entity_id] = listed.get("values", {}) | states.get(entity_id, {})
        description = listed | {"entity_id": entity_id, "values": values, "save": save}
        by_platform[entity_id.partition(".")[0]].append(description)
    for platform, devices in by_platform.items():
        await async_load_platform(hass, platform, DOMAIN, {"devices": devices}, config)
    for person in home["person"]:
        hass.states.async_set(
            person["phone"], person["state"], {"friendly_name": f"{person['name']}'s phone"}
        )
    return True


async def async_setup_platform(
    hass: HomeAssistant,  # noqa: ARG001 - Home Assistant's interface
    config: dict[str, Any],  # noqa: ARG001
    async_add_entities: AddEntitiesCallback,
    discovery_info: dict[str, Any] | None = None,
) -> None:
    """Add the devices that `async_setup` has found for one platform."""
    devices = (discovery_info or {}).get("devices", [])
    async_add_entities([_CLASSES[one["entity_id"].partition(".")[0]](one) for one in devices])


async def async_get_service(
    hass: HomeAssistant,
    config: dict[str, Any],
    discovery_info: dict[str, Any] | None = None,  # noqa: ARG001 - Home Assistant's interface
) -> device.Phone:
    """Return a phone for the family's notifications, for `notify:` in configuration.yaml."""
    return device.Phone(Path(hass.config.path("phones", config["name"])))


def _read_home() -> dict[str, Any]:
    return tomllib.loads(_HOME_FILE.read_text(encoding="utf-8"))


def _forget_template_devices(hass: HomeAssistant) -> None:
    """Remove registry entries of earlier versions, whose devices were templates."""
    registry = entity_registry.async_get(hass)
    for entry in list(registry.entities.values()):
        is_ours = entry.platform == "template" and entry.unique_id.startswith(f"{DOMAIN}_")
        if is_ours and entry.domain in {"light", "switch"}:
            registry.async_remove(entry.entity_id)
