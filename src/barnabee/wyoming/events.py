"""Events of the Wyoming protocol: reading them within limits, and what this server offers.

An event is a line of JSON, optional JSON of `data_length` bytes, and a payload of `payload_length`
bytes. The library `wyoming` reads any length that a client names.
"""

from __future__ import annotations

import json
from asyncio import IncompleteReadError, StreamReader
from collections.abc import Sequence
from typing import Any

from wyoming.event import Event
from wyoming.info import (
    AsrModel,
    AsrProgram,
    Attribution,
    HandleModel,
    HandleProgram,
    Info,
    TtsProgram,
    TtsVoice,
    WakeModel,
    WakeProgram,
)

from barnabee import __version__
from barnabee.core.errors import BadRequest

LINE_MAX_BYTES = 64 * 1024
DATA_MAX_BYTES = 256 * 1024
PAYLOAD_MAX_BYTES = 1024 * 1024
LANGUAGES = ["en"]
_PROGRAM = "barnabee"
_ATTRIBUTION = Attribution(name="BarnabeeNet", url="")


async def read_event(reader: StreamReader) -> Event | None:
    """Return the next event, None at the end; BadRequest when it is invalid or too long."""
    try:
        line = await reader.readline()
    except ValueError as error:
        raise BadRequest(
            field="event", reason=f"its line is over {LINE_MAX_BYTES} bytes"
        ) from error
    if not line:
        return None
    header = _parse_object(line, "event")
    kind = header.get("type")
    if not isinstance(kind, str) or not kind:
        raise BadRequest(field="field `type`", reason="it is missing")
    try:
        data = await _read_part(reader, header, "data_length", DATA_MAX_BYTES)
        payload = await _read_part(reader, header, "payload_length", PAYLOAD_MAX_BYTES)
    except IncompleteReadError:
        return None
    fields = header.get("data") or {}
    if not isinstance(fields, dict):
        raise BadRequest(field="field `data`", reason="it is not an object")
    return Event(kind, {**fields, **_parse_object(data or b"{}", "data")}, payload)


async def _read_part(
    reader: StreamReader, header: dict[str, Any], name: str, max_bytes: int
) -> bytes | None:
    length = header.get(name) or 0
    if type(length) is not int or not 0 <= length <= max_bytes:
        raise BadRequest(field=f"field `{name}`", reason=f"it is not between 0 and {max_bytes}")
    return await reader.readexactly(length) if length else None


def _parse_object(text: bytes, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(field=name, reason="it is not JSON") from error
    if not isinstance(parsed, dict):
        raise BadRequest(field=name, reason="it is not a JSON object")
    return parsed


def make_info(voices: Sequence[str], wake_words: Sequence[str]) -> Info:
    """Return the answer to `describe`; the first voice is the default. Pure.

    Home Assistant sorts voices by their descriptions and chooses the first: capitals come first.
    """

    def describe(description: str) -> dict[str, Any]:
        return {
            "name": _PROGRAM,
            "description": description,
            "attribution": _ATTRIBUTION,
            "installed": True,
            "version": __version__,
        }

    def model(name: str, description: str) -> dict[str, Any]:
        return {**describe(description), "name": name, "languages": LANGUAGES}

    return Info(
        asr=[AsrProgram(**describe("BarnabeeNet"), models=[AsrModel(**model("stt", "Speech"))])],
        tts=[
            TtsProgram(
                **describe("BarnabeeNet"),
                voices=[
                    TtsVoice(**model(voice, voice if number else f"{voice.capitalize()} (default)"))
                    for number, voice in enumerate(voices)
                ],
                supports_synthesize_streaming=True,
            )
        ],
        handle=[
            HandleProgram(
                **describe("BarnabeeNet"),
                models=[HandleModel(**model("assistant", "Assistant"))],
                supports_home_control=True,
            )
        ],
        wake=[
            WakeProgram(
                **describe("BarnabeeNet"),
                models=[
                    WakeModel(**model(word, word), phrase=word.replace("_", " "))
                    for word in wake_words
                ],
            )
        ],
    )
