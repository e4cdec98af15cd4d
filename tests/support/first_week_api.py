"""The first week on a real api process and the demo home in a real Home Assistant."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from barnabee.understanding.interfaces import Entity, ScheduleEntry
from barnabee.up.demo_home.websocket_api import WebSocketConnection, open_connection
from support.api import ApiProcess
from support.demo_home import DemoHomeProcess
from support.first_week import SWITCHED, Dialogue, is_in_state
from support.redis import RedisServer
from support.wait import eventually

ZONE = ZoneInfo("Europe/Amsterdam")  # of configuration.yaml
SHOPPING = "todo.shopping_list"
_SETTLE_S = 3
_COVER_OPEN = 100
_MEDIA = {"playing": "turn_on", "paused": "media_pause", "off": "turn_off", "idle": "media_stop"}
_VACUUM = {"docked": "return_to_base", "cleaning": "start", "paused": "pause", "idle": "stop"}


@dataclass
class ApiHousehold:
    """A `Household` of real processes; a conversation begins with the states of the first start."""

    api: ApiProcess
    connection: WebSocketConnection
    client: httpx.AsyncClient
    initial: Mapping[str, Entity] = field(default_factory=dict)
    session: int = 0
    room: str | None = None

    @property
    def now(self) -> datetime:
        return datetime.now(ZONE)

    async def reset(self, dialogue: Dialogue) -> None:
        self.initial = self.initial or await self._read_states()
        states = await self._read_states()
        wanted = {entity_id: _write_state(entity) for entity_id, entity in self.initial.items()}
        wanted |= dialogue.before
        for entity_id, state in wanted.items():
            entity = states[entity_id]
            if entity.is_available and not is_in_state(entity, state):
                await self._set_state(entity, state)
        await self._empty_list()
        await asyncio.to_thread(self._empty_database)
        self.room = dialogue.room
        for note in dialogue.notes:
            await self._begin_session()
            await self.say(f"remember that {note}")
        await self._begin_session()

    async def say(self, text: str) -> str:
        body = {"utterance": text, "session_id": f"week-{self.session}", "room": self.room}
        answer = await self.client.post("/v1/command", json=body)
        assert answer.status_code == httpx.codes.OK, answer.text
        reply: str = answer.json()["reply"]
        return reply

    async def read_states(self, expected: Mapping[str, str]) -> Mapping[str, Entity]:
        """Return all states; those that are expected may take a moment."""
        deadline = asyncio.get_running_loop().time() + _SETTLE_S
        while True:
            states = await self._read_states()
            is_reached = all(is_in_state(states[one], state) for one, state in expected.items())
            if is_reached or asyncio.get_running_loop().time() > deadline:
                return states
            await asyncio.sleep(0.05)

    async def read_shopping(self) -> Sequence[str]:
        items = await self.connection.call("todo/item/list", entity_id=SHOPPING)
        return [one["summary"] for one in items["items"] if one["status"] == "needs_action"]

    async def read_rings(self) -> Sequence[ScheduleEntry]:
        return await asyncio.to_thread(self._read_schedule)

    async def _begin_session(self) -> None:
        self.session += 1

    async def _read_states(self) -> dict[str, Entity]:
        return {
            state["entity_id"]: Entity(
                state["entity_id"],
                (state["attributes"].get("friendly_name", state["entity_id"]),),
                None,
                state["state"],
                state["attributes"],
            )
            for state in await self.connection.call("get_states")
        }

    async def _set_state(self, entity: Entity, state: str) -> None:
        for service, data in _list_calls(entity.domain, state):
            await self.connection.call(
                "call_service",
                domain=entity.domain,
                service=service,
                service_data=data,
                target={"entity_id": entity.entity_id},
            )

    async def _empty_list(self) -> None:
        items = await self.connection.call("todo/item/list", entity_id=SHOPPING)
        if items["items"]:
            await self.connection.call(
                "call_service",
                domain="todo",
                service="remove_item",
                service_data={"item": [one["uid"] for one in items["items"]]},
                target={"entity_id": SHOPPING},
            )

    def _empty_database(self) -> None:
        with closing(self._open_database()) as database, database:
            database.execute("DELETE FROM facts")
            database.execute("DELETE FROM schedule")

    def _read_schedule(self) -> list[ScheduleEntry]:
        with closing(self._open_database()) as database:
            rows = database.execute(
                "SELECT entry_id, kind, due_at, label, remaining_ms FROM schedule"
            ).fetchall()
        return [
            ScheduleEntry(
                entry_id,
                kind,
                datetime.fromisoformat(due_at),
                label,
                remaining=None if left_ms is None else timedelta(milliseconds=left_ms),
            )
            for entry_id, kind, due_at, label, left_ms in rows
        ]

    def _open_database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.api.data / "barnabee.db", timeout=10)


@asynccontextmanager
async def run_household(home: DemoHomeProcess, directory: Path) -> AsyncIterator[ApiHousehold]:
    """Run Redis and an api beside the running home, without inference and without a model."""
    redis = RedisServer(directory / "redis")
    redis.start()
    environment = {"HOME_ASSISTANT_URL": home.home.url, "GPU_SERVICE_URL": "http://127.0.0.1:9"}
    tables = {"limits": {"commands_per_minute": 100_000, "command_burst": 100_000}}
    api = ApiProcess(
        directory, redis.url, tables=tables, environment=environment, home_token=home.token
    )
    try:
        api.start()

        async def has_home() -> bool:
            health = await api.health()
            return bool(health["dependencies"]["home_assistant"]["status"] == "healthy")

        await eventually(has_home)
        async with (
            open_connection(home.home.websocket_url, home.token) as connection,
            api.client() as client,
        ):
            yield ApiHousehold(api, connection, client)
    finally:
        api.stop()
        redis.stop()


def _list_calls(domain: str, text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the service calls that bring an entity into the state that `text` writes."""
    calls: list[tuple[str, dict[str, Any]]]
    state, *pairs = text.split()
    values = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
    match domain:
        case "light" | "switch" | "fan":
            data = {name: float(value) for name, value in values.items() if state == "on"}
            calls = [(f"turn_{state}", data)]
        case "cover":
            default = _COVER_OPEN if state == "open" else 0
            position = int(values.get("current_position", default))
            calls = [("set_cover_position", {"position": position})]
        case "lock":
            calls = [(state.removesuffix("ed"), {})]
        case "climate":
            calls = [("set_temperature", {"temperature": float(values.get("temperature", 20))})]
            calls.append(("set_hvac_mode", {"hvac_mode": state}))
        case "media_player":
            calls = [("turn_on", {}), ("volume_mute", {"is_volume_muted": False})]
            if "volume_level" in values:
                calls.append(("volume_set", {"volume_level": float(values["volume_level"])}))
            if "source" in values:
                calls.append(("select_source", {"source": values["source"]}))
            calls.append((_MEDIA[state], {}))
        case _:
            calls = [(_VACUUM[state], {})]
    return calls


def _write_state(entity: Entity) -> str:
    """Return the text of a state, for `is_in_state`; "*" for what is only read."""
    if entity.domain not in SWITCHED:
        return "*"
    kept = {"cover": ("current_position",), "climate": ("temperature",)}
    pairs = (f"{name}={entity.attributes[name]}" for name in kept.get(entity.domain, ()))
    return " ".join((entity.state, *pairs))
