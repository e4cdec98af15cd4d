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

    token: str = "home-token"  # noqa: S105 - made up
    lights: dict[str, bool] = field(
        default_factory=lambda: {"kitchen light": False, "hall light": True}
    )
    silent: bool = False  # never answers
    garbage: bool = False  # sends invalid messages before each answer
    drop_next: bool = False  # drops the connection instead of answering
    wrong_greeting: bool = False
    received: list[dict[str, Any]] = field(default_factory=list)
    logins: int = 0
    port: int = 0
    _server: Server | None = None

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

    async def _answer(self, connection: ServerConnection, message: dict[str, Any]) -> None:
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
        await _send(connection, self._result(message))

    def _result(self, message: dict[str, Any]) -> dict[str, Any]:
        head = {"id": message.get("id"), "type": "result"}
        if message.get("type") != "conversation/process":
            error = {"code": "unknown_command", "message": "Unknown command."}
            return {**head, "success": False, "error": error}
        result = {
            "response": self._response(str(message["text"])),
            "conversation_id": message.get("conversation_id"),
        }
        return {**head, "success": True, "result": result}

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
            "id": f"light.{name.replace(' ', '_')}",
        }
        data = {"targets": [], "success": [entity], "failed": []}
        if command is not None:
            self.lights[name] = command["to"].lower() == "on"
            speech = f"Turned {command['to'].lower()} the light"
            return _response("action_done", speech, data)
        reply = "Yes" if self.lights[name] == (match["to"].lower() == "on") else "No"
        return _response("query_answer", reply, data)


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
