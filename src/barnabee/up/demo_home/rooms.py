"""Which device stands in which room. Home Assistant takes areas over its API, not from YAML."""

from __future__ import annotations

from types import MappingProxyType

from barnabee.up.demo_home.websocket import Connection

ROOM_OF = MappingProxyType(
    {
        "light.bedroom_light": "Bedroom",
        "light.hall_light": "Hall",
        "light.kitchen_light": "Kitchen",
        "light.living_room_lamp": "Living Room",
        "switch.coffee_machine": "Kitchen",
    }
)


async def arrange(connection: Connection) -> None:
    """Create the rooms that are missing and put every device into its room."""
    areas = await connection.call("config/area_registry/list")
    area_ids = {area["name"]: area["area_id"] for area in areas}
    for room in sorted(set(ROOM_OF.values()) - set(area_ids)):
        area = await connection.call("config/area_registry/create", name=room)
        area_ids[room] = area["area_id"]
    for entity_id, room in ROOM_OF.items():
        await connection.call(
            "config/entity_registry/update", entity_id=entity_id, area_id=area_ids[room]
        )
