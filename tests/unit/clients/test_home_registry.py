"""The home in memory: names, rooms, exposure and changes of states."""

from __future__ import annotations

from typing import Any

import pytest

from barnabee.clients.home_registry import HomeRegistry, Registries

LAMP = "light.lamp"


def add_states(registry: HomeRegistry, **attributes: dict[str, Any]) -> None:
    states = {key.replace("__", "."): {"s": "off", "a": value} for key, value in attributes.items()}
    registry.apply_states({"a": states})


@pytest.fixture
def registry() -> HomeRegistry:
    registry = HomeRegistry()
    add_states(registry, light__lamp={"friendly_name": "Lamp", "brightness": 3})
    return registry


def test_names_are_the_friendly_name_and_the_aliases(registry: HomeRegistry) -> None:
    row = {"entity_id": LAMP, "name": "Lamp", "area_id": None, "device_id": None}
    aliases = {LAMP: {"aliases": ["Big lamp", None, " Lamp "]}}
    registry.set_registries(Registries(entities=(row,), aliases=aliases))
    assert registry.home.entities[LAMP].names == ("Lamp", "Big lamp")


def test_area_is_that_of_the_entity_or_its_device(registry: HomeRegistry) -> None:
    devices = ({"id": "d", "area_id": "hall"},)
    row = {"entity_id": LAMP, "area_id": None, "device_id": "d"}
    registry.set_registries(Registries(devices=devices, entities=(row,)))
    assert registry.home.entities[LAMP].area_id == "hall"
    registry.set_registries(Registries(devices=devices, entities=({**row, "area_id": "attic"},)))
    assert registry.home.entities[LAMP].area_id == "attic"


@pytest.mark.parametrize(
    ("registries", "is_exposed"),
    [
        (Registries(), True),
        (Registries(exposed={LAMP: {"conversation": False}}), False),
        (Registries(exposed={LAMP: {}}, exposes_new=False), False),
        (Registries(exposed={LAMP: {"conversation": True}}, exposes_new=False), True),
        (Registries(entities=({"entity_id": LAMP, "hidden_by": "user"},)), False),
    ],
)
def test_only_what_is_exposed_to_assist_is_known(
    registry: HomeRegistry, registries: Registries, *, is_exposed: bool
) -> None:
    registry.set_registries(registries)
    assert (LAMP in registry.home.entities) is is_exposed


def test_sensors_are_exposed_by_their_class(registry: HomeRegistry) -> None:
    add_states(
        registry,
        sensor__warm={"device_class": "temperature"},
        sensor__power={"device_class": "power"},
        person__dad={},
    )
    assert list(registry.home.entities) == [LAMP, "sensor.warm"]


def test_changes_are_applied(registry: HomeRegistry) -> None:
    before = registry.home
    registry.apply_states({"c": {LAMP: {"+": {"s": "on"}, "-": {"a": ["brightness"]}}}})
    lamp = registry.home.entities[LAMP]
    assert (lamp.state, lamp.attributes) == ("on", {"friendly_name": "Lamp"})
    assert before.entities[LAMP].state == "off"
    registry.apply_states({"c": {LAMP: {"+": {"a": {"friendly_name": "Other"}}}}})
    assert registry.home.entities[LAMP].name == "Other"
    registry.apply_states({"r": [LAMP]})
    assert registry.home.entities == {}


def test_home_is_built_once_for_each_change(registry: HomeRegistry) -> None:
    assert registry.home is registry.home


def test_floors_devices_and_units_are_read(registry: HomeRegistry) -> None:
    registry.set_registries(
        Registries(
            areas=({"area_id": "hall", "name": "Hall", "floor_id": "g", "aliases": ["hallway"]},),
            floors=({"floor_id": "g", "name": "Ground floor", "aliases": ["downstairs"]},),
            config={"time_zone": "America/Denver", "unit_system": {"temperature": "°F"}},
            devices=({"id": "d1", "area_id": "hall"}, {"id": "d2", "area_id": None}),
        )
    )
    home = registry.home
    assert home.device_areas == {"d1": "hall"}
    assert home.areas["hall"].names == ("Hall", "hallway")
    assert home.floors == {"g": ("Ground floor", "downstairs")}
    assert (home.time_zone, home.is_metric) == ("America/Denver", False)


def test_pipeline_of_a_language_model_is_not_used() -> None:
    rows = (
        {"id": "cloud", "conversation_engine": "conversation.openai"},
        {"id": "local", "conversation_engine": "conversation.home_assistant"},
    )
    assert Registries(pipelines=rows).local_pipeline == "local"
    assert Registries(pipelines=rows[:1]).local_pipeline is None
