"""What Home Assistant knows of the home, in memory: registries and states.

Built from the results of its WebSocket commands. Home Assistant 2024.3 has no floors, and lists
what is exposed to administrators only: without the list its default rule is applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from barnabee.clients.home_websocket import HomeWebSocket, clean_text, get_table
from barnabee.understanding.entity_lookup import find_area
from barnabee.understanding.interfaces import Area, Entity, Home

# homeassistant/components/homeassistant/exposed_entities.py of 2024.3 and 2026.2, united.
_EXPOSED_DOMAINS = frozenset(
    {"climate", "cover", "fan", "humidifier", "light", "lock", "media_player", "scene", "script"}
    | {"switch", "todo", "vacuum", "water_heater"}
)
_EXPOSED_CLASSES = {
    "binary_sensor": frozenset(
        {"door", "garage_door", "lock", "motion", "opening", "presence", "window"}
    ),
    "sensor": frozenset(
        {"aqi", "carbon_dioxide", "carbon_monoxide", "humidity", "pm10", "pm25", "temperature"}
        | {"volatile_organic_compounds"}
    ),
}
_LOCAL_AGENTS = frozenset({"homeassistant", "conversation.home_assistant"})
_CELSIUS = "°C"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Registries:
    """Results of the registry commands; empty where Home Assistant refuses or lacks one.

    `entities` are the rows of `config/entity_registry/list`, `aliases` those of `get_entries` by
    entity id. `exposed` is None if it may not be read.
    """

    areas: tuple[Row, ...] = ()
    floors: tuple[Row, ...] = ()
    devices: tuple[Row, ...] = ()
    entities: tuple[Row, ...] = ()
    aliases: Mapping[str, Row] = field(default_factory=dict)
    exposed: Mapping[str, Row] | None = None
    exposes_new: bool = True
    config: Row = field(default_factory=dict)
    pipelines: tuple[Row, ...] = ()

    @property
    def local_pipeline(self) -> str | None:
        """The Assist pipeline whose agent is Home Assistant's own, not a language model."""
        for row in self.pipelines:
            if row.get("conversation_engine") in _LOCAL_AGENTS:
                return str(row["id"])
        return None

    def exposed_ids(self, states: Mapping[str, tuple[str, Row]]) -> list[str]:
        """Return the ids of the entities that are exposed to Assist, of those in `states`."""
        rows = {str(row["entity_id"]): row for row in self.entities}
        return [
            entity_id
            for entity_id, (_, attributes) in states.items()
            if self._is_exposed(entity_id, attributes, rows.get(entity_id, {}))
        ]

    def _is_exposed(self, entity_id: str, attributes: Row, row: Row) -> bool:
        decided = (self.exposed or {}).get(entity_id, {}).get("conversation")
        if decided is not None:
            return bool(decided)
        if not self.exposes_new or row.get("entity_category") or row.get("hidden_by"):
            return False
        domain = entity_id.partition(".")[0]
        classes = _EXPOSED_CLASSES.get(domain, frozenset())
        return domain in _EXPOSED_DOMAINS or attributes.get("device_class") in classes


class HomeRegistry:
    """Registries and states; `home` is built anew only after a change."""

    def __init__(self) -> None:
        self.registries = Registries()
        self.states: dict[str, tuple[str, Row]] = {}
        self._entities: dict[str, Entity] | None = None
        self._home: Home | None = None

    @property
    def home(self) -> Home:
        if self._home is None:
            if self._entities is None:
                self._entities = self._make_entities()
            self._home = self._make_home(self._entities)
        return self._home

    def clear_states(self) -> None:
        self.states.clear()
        self._entities = self._home = None

    def set_registries(self, registries: Registries) -> None:
        self.registries = registries
        self._entities = self._home = None

    def apply_states(self, event: Row) -> None:
        """Apply an event of `subscribe_entities`: added `a`, changed `c` and removed `r`."""
        for entity_id, state in get_table(event, "a").items():
            self.states[entity_id] = (clean_text(state.get("s")), get_table(state, "a"))
            self._entities = None
        for entity_id in event.get("r", ()):
            self.states.pop(entity_id, None)
            self._entities = None
        for entity_id, change in get_table(event, "c").items():
            self._change(entity_id, get_table(change, "+"), get_table(change, "-"))
        self._home = None

    def find_device(self, room: str) -> str | None:
        """Return the id of a device in a room; Home Assistant takes it for the microphone."""
        area = find_area(self.home, room)
        for row in self.registries.devices:
            if area and row.get("area_id") == area.area_id and not row.get("disabled_by"):
                return str(row["id"])
        return None

    def _change(self, entity_id: str, added: Row, removed: Row) -> None:
        state, attributes = self.states.get(entity_id, ("unknown", {}))
        gone = set(removed.get("a", ()))
        kept = {key: value for key, value in attributes.items() if key not in gone}
        new = (clean_text(added.get("s", state)), {**kept, **get_table(added, "a")})
        self.states[entity_id] = new
        known = (self._entities or {}).get(entity_id)
        if self._entities is None or known is None:
            return
        if new[1].get("friendly_name") != attributes.get("friendly_name"):
            self._entities = None
        else:
            self._entities[entity_id] = Entity(
                entity_id, known.names, known.area_id, new[0], new[1]
            )

    def _make_entities(self) -> dict[str, Entity]:
        registries = self.registries
        device_areas = {row["id"]: row.get("area_id") for row in registries.devices}
        rows = {str(row["entity_id"]): row for row in registries.entities}
        entities = {}
        for entity_id in registries.exposed_ids(self.states):
            state, attributes = self.states[entity_id]
            row = rows.get(entity_id, {})
            area_id = row.get("area_id") or device_areas.get(row.get("device_id"))
            fallback = entity_id.partition(".")[2].replace("_", " ")
            names = _unique(
                attributes.get("friendly_name") or fallback,
                row.get("name"),
                *registries.aliases.get(entity_id, {}).get("aliases", ()),
            )
            entities[entity_id] = Entity(entity_id, names, area_id, state, attributes)
        return entities

    def _make_home(self, entities: Mapping[str, Entity]) -> Home:
        registries = self.registries
        areas = {
            str(row["area_id"]): Area(
                str(row["area_id"]),
                _unique(row.get("name"), *row.get("aliases", ())),
                row.get("floor_id"),
            )
            for row in registries.areas
        }
        floors = {
            str(row["floor_id"]): _unique(row.get("name"), *row.get("aliases", ()))
            for row in registries.floors
        }
        unit = get_table(registries.config, "unit_system").get("temperature", _CELSIUS)
        return Home(
            entities=dict(entities),
            areas=areas,
            floors=floors,
            time_zone=registries.config.get("time_zone"),
            is_metric=unit == _CELSIUS,
            device_areas={
                str(row["id"]): str(row["area_id"])
                for row in registries.devices
                if row.get("area_id")
            },
        )


def _unique(*names: object) -> tuple[str, ...]:
    """Return the names in their order, each once; aliases may be null."""
    texts: Iterable[str] = (clean_text(name).strip() for name in names if isinstance(name, str))
    return tuple(dict.fromkeys(text for text in texts if text))


async def read_registries(
    socket: HomeWebSocket, states: Mapping[str, tuple[str, Row]]
) -> Registries:
    """Read all registries; `states` tells whose aliases are needed. Raises Unavailable."""

    async def read_table(command: str, **fields: object) -> Row | None:
        reply = await socket.request({"type": command, **fields})
        return get_table(reply, "result") if reply.get("success") else None

    async def read_list(name: str) -> tuple[Row, ...]:
        reply = await socket.request({"type": f"config/{name}_registry/list"})
        rows, key = reply.get("result"), "id" if name == "device" else f"{name}_id"
        if not reply.get("success") or not isinstance(rows, list):
            return ()
        return tuple(row for row in rows if key in row)

    exposed = await read_table("homeassistant/expose_entity/list")
    new = await read_table("homeassistant/expose_new_entities/get", assistant="conversation")
    registries = Registries(
        areas=await read_list("area"),
        floors=await read_list("floor"),
        devices=await read_list("device"),
        entities=await read_list("entity"),
        exposed=None if exposed is None else get_table(exposed, "exposed_entities"),
        exposes_new=bool((new or {}).get("expose_new", True)),
        config=await read_table("get_config") or {},
        pipelines=tuple(
            (await read_table("assist_pipeline/pipeline/list") or {}).get("pipelines", ())
        ),
    )
    # The list of entities has no aliases.
    known = {str(row["entity_id"]) for row in registries.entities}
    ids = [one for one in registries.exposed_ids(states) if one in known]
    aliases = await read_table("config/entity_registry/get_entries", entity_ids=ids)
    return replace(registries, aliases=aliases or {})
