"""Fake Home Assistant: a WebSocket server with the real protocol and a few lights.

Responses have the shapes of Home Assistant 2024.3. It can simulate faults: refuse the token, hang,
send invalid messages, drop the connection.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

VERSION = "2024.3.3"
_SWITCH = re.compile(r"turn (?P<to>on|off) (?:the )?(?P<name>.+)", re.IGNORECASE)
_STATE = re.compile(r"is (?:the )?(?P<name>.+) (?P<to>on|off)", re.IGNORECASE)


@dataclass
class FakeHomeAssistant:
    """The server; its public fields may change while it runs."""

    token: str = "home-token"
    lights: dict[str, bool] = field(
        default_factory=lambda: {"kitchen light": False, "hall light": True}
    )
    silent: bool = False  # never answers
    garbage: bool = False  # sends invalid messages before each answer
    drop_next: bool = False  # drops the connection instead of answering
    wrong_greeting: bool = False
    areas: dict[str, str] = field(default_factory=lambda: {"kitchen": "Kitchen", "hall": "Hall"})
    device_area: str | None = None  # the area in which a device stands
    refusal: str | None = None  # the reason for which services are refused
    match: dict[str, Any] | None = field(  # what the agent says that it has recognized
        default_factory=lambda: {"match": True, "fuzzy_match": False, "source": "builtin"}
    )
    received: list[dict[str, Any]] = field(default_factory=list)  # without what reads the home
    logins: int = 0
    port: int = 0
    _server: Server | None = None
    _subscriptions: dict[ServerConnection, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Base URL, as a user would configure it."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; after a restart on the same port."""
        self._server = await serve(self._handle, "127.0.0.1", self.port)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop all connections."""
        if self._server is not None:
            self._server.close(close_connections=False)
            for connection in list(self._server.connections):
                connection.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def drop_all(self) -> None:
        """Drop all connections, as a crash would; keep listening."""
        for connection in list(self._server.connections if self._server else ()):
            connection.transport.abort()

    async def _handle(self, connection: ServerConnection) -> None:
        try:
            if self.wrong_greeting:
                await connection.send('{"type": "hello"}')
                return
            if await self._authenticate(connection):
                async for frame in connection:
                    await self._answer(connection, json.loads(frame))
        except ConnectionClosed:
            return
        finally:
            self._subscriptions.pop(connection, None)

    async def _authenticate(self, connection: ServerConnection) -> bool:
        await _send(connection, {"type": "auth_required", "ha_version": VERSION})
        login = json.loads(await connection.recv())
        self.logins += 1
        if login != {"type": "auth", "access_token": self.token}:
            refusal = {"type": "auth_invalid", "message": "Invalid access token or password"}
            await _send(connection, refusal)
            return False
        await _send(connection, {"type": "auth_ok", "ha_version": VERSION})
        return True

    async def set_light(self, name: str, *, is_on: bool) -> None:
        """Change a light as its switch on the wall does."""
        self.lights[name] = is_on
        await self._send_states()

    async def _send_states(self) -> None:
        changes = {
            entity_id: {"+": {"s": state["s"]}} for entity_id, state in self._states().items()
        }
        for connection, number in list(self._subscriptions.items()):
            await _send(connection, {"id": number, "type": "event", "event": {"c": changes}})

    def _states(self) -> dict[str, dict[str, Any]]:
        return {
            _make_id(name): {
                "s": "on" if is_on else "off",
                "a": {"friendly_name": name.capitalize(), "supported_color_modes": ["onoff"]},
            }
            for name, is_on in self.lights.items()
        }

    def _read_home(self, kind: str) -> Any:
        """Return the result of a command that reads the home; None for another command."""
        entities = [
            {"entity_id": _make_id(name), "area_id": name.split(maxsplit=1)[0], "device_id": None}
            for name in self.lights
        ]
        pipelines = [{"id": "local", "conversation_engine": "homeassistant", "language": "en"}]
        return {
            "get_config": {"time_zone": "Europe/Amsterdam", "unit_system": {"temperature": "°C"}},
            "config/area_registry/list": [
                {"area_id": key, "name": name, "aliases": []} for key, name in self.areas.items()
            ],
            "config/floor_registry/list": [],
            "config/device_registry/list": [{"id": "device", "area_id": self.device_area}],
            "config/entity_registry/list": entities,
            "config/entity_registry/get_entries": {
                one["entity_id"]: {**one, "aliases": []} for one in entities
            },
            "homeassistant/expose_entity/list": {"exposed_entities": {}},
            "homeassistant/expose_new_entities/get": {"expose_new": True},
            "assist_pipeline/pipeline/list": {"pipelines": pipelines},
            "conversation/agent/homeassistant/debug": {"results": [self.match]},
            "subscribe_events": {},
            "conversation/prepare": {},
        }.get(kind)

    async def _answer(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        kind, head = str(message.get("type")), {"id": message.get("id"), "type": "result"}
        if kind == "subscribe_entities":
            self._subscriptions[connection] = message["id"]
            await _send(connection, {**head, "success": True, "result": None})
            event = {"id": message["id"], "type": "event", "event": {"a": self._states()}}
            await _send(connection, event)
            return
        if (result := self._read_home(kind)) is not None:
            await _send(connection, {**head, "success": True, "result": result})
            return
        self.received.append(message)
        if self.silent:
            return
        if self.drop_next:
            self.drop_next = False
            connection.transport.abort()
            return
        if self.garbage:
            for invalid in ("{", b"\xff\xfe", "[]", '"text"', '{"id": "x"}', '{"id": [1]}'):
                await connection.send(invalid)
        await self._send_result(connection, message)
        await self._send_states()

    async def _send_result(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        head = {"id": message.get("id"), "type": "result"}
        if message.get("type") == "call_service":
            await _send(connection, {**head, **self._call_service(message)})
            return
        if message.get("type") == "assist_pipeline/run":
            output = {"response": self._response(str(message["input"]["text"]))}
            await _send(connection, {**head, "success": True, "result": None})
            event = {"type": "intent-end", "data": {"intent_output": output}}
            await _send(connection, {"id": message["id"], "type": "event", "event": event})
            return
        if message.get("type") != "conversation/process":
            error = {"code": "unknown_command", "message": "Unknown command."}
            await _send(connection, {**head, "success": False, "error": error})
            return
        result = {
            "response": self._response(str(message["text"])),
            "conversation_id": message.get("conversation_id"),
        }
        await _send(connection, {**head, "success": True, "result": result})

    def _call_service(self, message: dict[str, Any]) -> dict[str, Any]:
        if self.refusal is not None:
            error = {"code": "home_assistant_error", "message": self.refusal}
            return {"success": False, "error": error}
        for name in self.lights:
            if _make_id(name) in message.get("target", {}).get("entity_id", ()):
                self.lights[name] = message["service"] == "turn_on"
        return {"success": True, "result": {"context": {}, "response": None}}

    def _response(self, text: str) -> dict[str, Any]:
        command, question = _SWITCH.fullmatch(text), _STATE.fullmatch(text)
        match = command or question
        if match is None:
            return _error("no_intent_match", "Sorry, I couldn't understand that")
        name = match["name"].lower()
        if name not in self.lights:
            return _error("no_valid_targets", f"Sorry, I am not aware of any device called {name}")
        entity = {
            "name": name.title(),
            "type": "entity",
            "id": _make_id(name),
        }
        data = {"targets": [], "success": [entity], "failed": []}
        if command is not None:
            self.lights[name] = command["to"].lower() == "on"
            speech = f"Turned {command['to'].lower()} the light"
            return _response("action_done", speech, data)
        reply = "Yes" if self.lights[name] == (match["to"].lower() == "on") else "No"
        return _response("query_answer", reply, data)


def _make_id(name: str) -> str:
    return f"light.{name.replace(' ', '_')}"


def _response(kind: str, speech: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "speech": {"plain": {"speech": speech, "extra_data": None}},
        "card": {},
        "language": "en",
        "response_type": kind,
        "data": data,
    }


def _error(code: str, speech: str) -> dict[str, Any]:
    return _response("error", speech, {"code": code})


async def _send(connection: ServerConnection, message: dict[str, Any]) -> None:
    await connection.send(json.dumps(message))
