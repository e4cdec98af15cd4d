"""Client of Home Assistant: its conversation agent, its services and the state of the home.

API: developers.home-assistant.io/docs/api/websocket and .../intent_conversation_api. Registries
and states are read once a connection and kept up to date by events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from barnabee.clients.home_registry import HomeRegistry, read_registries
from barnabee.clients.home_websocket import HomeWebSocket, clean_text, get_table, log
from barnabee.core.errors import HomeRefused, TimedOut, Unavailable
from barnabee.understanding.interfaces import Home, HomeAnswer, HomeKind

# Exposure has no event for entities that are not in the registry.
REFRESH_S = 60.0
_REGISTRY_EVENTS = (
    *("area_registry_updated", "floor_registry_updated", "device_registry_updated"),
    *("entity_registry_updated", "core_config_updated"),
)
_DEBUG = "conversation/agent/homeassistant/debug"
# What the assistant does itself; Home Assistant would take any sentence that ends in a duration.
_OUR_INTENTS = frozenset(
    {"HassStartTimer", "HassCancelTimer", "HassCancelAllTimers", "HassPauseTimer"}
    | {"HassUnpauseTimer", "HassIncreaseTimer", "HassDecreaseTimer", "HassTimerStatus"}
    | {"HassBroadcast", "HassNevermind"}
)
_KINDS = frozenset({"action_done", "query_answer", "error"})


class HomeAssistant:
    """Persistent connection; call `start` once and `aclose` at the end."""

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        *,
        timeout_s: float = 5.0,
        pause_s: Callable[[int], float] | None = None,
    ) -> None:
        """`token` is called at every attempt, so that a rotated token is used.

        `timeout_s` limits one request; `pause_s` maps failed attempts to the wait in seconds.
        """
        self._socket = HomeWebSocket(
            url, token, self._follow_home, timeout_s=timeout_s, pause_s=pause_s
        )
        self._timeout_s = timeout_s
        self._registry = HomeRegistry()
        self._is_loaded = asyncio.Event()
        self._is_stale = asyncio.Event()
        self._waiting: set[asyncio.Future[None]] = set()

    def start(self) -> None:
        """Start the connection task; returns at once."""
        self._socket.start()

    async def aclose(self) -> None:
        await self._socket.aclose()

    async def ready(self) -> None:
        """Raise DependencyDown unless Home Assistant is connected."""
        self._socket.require_connection()

    async def converse(
        self,
        text: str,
        *,
        conversation_id: str | None = None,
        language: str = "en",
        room: str | None = None,
        only: Collection[str] | None = None,
    ) -> HomeAnswer:
        """Send `text` to Home Assistant's conversation agent and return the answer.

        The agent learns the room where a device stands in it: its Assist pipeline takes a device,
        and the plain command takes nothing. Raises DependencyDown without a connection (`sent=True`
        when the request was sent and may have been executed), TimedOut without an answer.
        """
        pipeline = self._registry.registries.local_pipeline
        device_id = self._registry.find_device(room) if room and pipeline else None
        if not await self._may_carry_out(text, language, device_id, only):
            return HomeAnswer("error", "", "no_intent_match")
        more = {} if conversation_id is None else {"conversation_id": conversation_id}
        if device_id is not None:
            run = {"pipeline": pipeline, "device_id": device_id, **more}
            return await self._run_pipeline(text, run)
        request = {"type": "conversation/process", "text": text, "language": language, **more}
        reply = await self._socket.request(request)
        if not reply.get("success"):
            return _refuse_answer(reply)
        return parse_answer(get_table(reply, "result"))

    async def read_home(self) -> Home:
        """Return the home, from memory; raises Unavailable without a connection."""
        self._socket.require_connection()
        if not self._is_loaded.is_set():
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._is_loaded.wait()
            except TimeoutError as error:
                limit_ms = int(self._timeout_s * 1000)
                raise TimedOut(what="Home Assistant", limit_ms=limit_ms) from error
        return self._registry.home

    async def wait_until(self, is_reached: Callable[[Home], bool], timeout_s: float) -> Home:
        """Return the home when `is_reached`, at the latest after `timeout_s`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        home = await self.read_home()
        while not is_reached(home) and (left_s := deadline - loop.time()) > 0:
            changed: asyncio.Future[None] = loop.create_future()
            self._waiting.add(changed)
            await asyncio.wait([changed], timeout=left_s)
            self._waiting.discard(changed)
            home = await self.read_home()
        return home

    async def call_service(
        self,
        service: str,
        entity_ids: Collection[str] = (),
        data: Mapping[str, Any] | None = None,
        *,
        has_response: bool = False,
    ) -> Mapping[str, Any]:
        """Call `domain.service` and return its response, {} without one.

        Raises HomeRefused when Home Assistant does not carry it out, Unavailable when it does not
        answer.
        """
        domain, _, name = service.partition(".")
        request: dict[str, Any] = {"type": "call_service", "domain": domain, "service": name}
        request["service_data"] = dict(data or {})
        if entity_ids:
            request["target"] = {"entity_id": list(entity_ids)}
        if has_response:
            request["return_response"] = True
        reply = await self._socket.request(request)
        if not reply.get("success"):
            error = get_table(reply, "error")
            log.warning("home_assistant_refused", code=str(error.get("code")), service=service)
            reason = clean_text(error.get("message") or error.get("code") or "no reason given")
            raise HomeRefused(service=service, reason=reason)
        return get_table(get_table(reply, "result"), "response")

    async def read_notifications(self) -> dict[str, str]:
        """Return the titles of the active persistent notifications by id."""
        reply = await self._socket.request({"type": "persistent_notification/get"})
        result = reply.get("result")
        return {
            str(notification.get("notification_id")): str(notification.get("title"))
            for notification in (result if isinstance(result, list) else [])
        }

    # ---- state of the home ----------------------------------------------------------------------

    async def _follow_home(self) -> None:
        """Read states and registries of a new connection and follow their changes."""
        self._is_loaded.clear()
        self._registry.clear_states()
        while True:
            try:
                is_first = not self._is_loaded.is_set()
                if is_first:
                    await self._subscribe()
                self._is_stale.clear()
                self._registry.set_registries(
                    await read_registries(self._socket, self._registry.states)
                )
                self._is_loaded.set()
                if is_first:  # the agent loads its sentences for seconds at the first one
                    await self._socket.request({"type": "conversation/prepare"})
            except Unavailable as error:
                log.warning("home_registry_unread", code=error.code, reason=str(error))
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._is_stale.wait()
            except TimeoutError:
                continue

    async def _subscribe(self) -> None:
        await self._socket.request({"type": "subscribe_entities"}, self._apply_states)
        for event_type in _REGISTRY_EVENTS:
            request = {"type": "subscribe_events", "event_type": event_type}
            await self._socket.request(request, lambda _: self._is_stale.set())

    def _apply_states(self, event: Mapping[str, Any]) -> None:
        self._registry.apply_states(event)
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def _may_carry_out(
        self, text: str, language: str, device_id: str | None, only: Collection[str] | None
    ) -> bool:
        """Return whether the agent knows `text`, or does not tell. Its guesses do not count.

        Home Assistant 2026 takes "where is the key" for a question about the time, and "dim the
        lights" for "turn off the lights".
        """
        request: dict[str, Any] = {"type": _DEBUG, "sentences": [text], "language": language}
        if device_id is not None:
            request["device_id"] = device_id
        try:
            reply = await self._socket.request(request)
        except TimedOut:  # nothing was carried out, so there is nothing to be unsure of
            return False
        results = get_table(reply, "result").get("results")
        if not reply.get("success") or not isinstance(results, list) or len(results) != 1:
            return True
        return is_trusted(results[0] if isinstance(results[0], Mapping) else {}, only)

    async def _run_pipeline(self, text: str, run: Mapping[str, Any]) -> HomeAnswer:
        ended: asyncio.Future[HomeAnswer] = asyncio.get_running_loop().create_future()

        def receive(event: Mapping[str, Any]) -> None:
            kind, data = event.get("type"), get_table(event, "data")
            if ended.done():
                return
            if kind == "intent-end":
                ended.set_result(parse_answer(get_table(data, "intent_output")))
            elif kind in {"error", "run-end"}:
                ended.set_result(HomeAnswer("error", "", clean_text(data.get("code", "unknown"))))

        stages = {"start_stage": "intent", "end_stage": "intent", "input": {"text": text}}
        request = {"type": "assist_pipeline/run", **stages, **run}
        reply = await self._socket.request(request, receive)
        if not reply.get("success"):
            return _refuse_answer(reply)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await ended
        except TimeoutError as error:
            limit_ms = int(self._timeout_s * 1000)
            raise TimedOut(what="Home Assistant", limit_ms=limit_ms) from error


def is_trusted(found: Mapping[str, Any], only: Collection[str] | None) -> bool:
    """Return whether a sentence may be carried out that the agent has recognized as `found`."""
    if found.get("match") is not True or found.get("fuzzy_match"):
        return False
    if found.get("source") in {"trigger", "custom"}:
        return True
    if str(get_table(found, "intent").get("name")) in _OUR_INTENTS:
        return False
    return only is None or set(get_table(found, "targets")) <= set(only)


def parse_answer(result: Mapping[str, Any]) -> HomeAnswer:
    """Convert the result of `conversation/process`.

    An action that failed for every target is an error, even though Home Assistant calls it done.
    """
    response = get_table(result, "response")
    data = get_table(response, "data")
    kind = str(response.get("response_type"))
    speech = get_table(get_table(response, "speech"), "plain").get("speech")
    actions, failed = _read_targets(data, "success"), _read_targets(data, "failed")
    code = str(data.get("code", "unknown")) if kind not in _KINDS - {"error"} else None
    if kind == "action_done" and failed and not any(one["type"] == "entity" for one in actions):
        return HomeAnswer("error", "", "failed_to_handle")
    return HomeAnswer(
        kind=cast(HomeKind, kind) if kind in _KINDS else "error",
        speech=clean_text(speech) if isinstance(speech, str) else "",
        code=code,
        actions=actions if kind == "action_done" else (),
    )


def _read_targets(data: Mapping[str, Any], key: str) -> tuple[dict[str, str], ...]:
    targets = data.get(key)
    return tuple(
        {field: clean_text(target.get(field, "")) for field in ("type", "name", "id")}
        for target in (targets if isinstance(targets, list) else [])
        if isinstance(target, dict)
    )


def _refuse_answer(reply: Mapping[str, Any]) -> HomeAnswer:
    code = clean_text(get_table(reply, "error").get("code", "unknown"))
    log.warning("home_assistant_refused", code=code)
    return HomeAnswer("error", "", code)
