"""Whether a server outside the house is there, asked in the cheapest way that its kind answers.

Sends no secret and changes nothing there: a mail server is greeted, a web server asked for nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

from barnabee.core.errors import DependencyDown, SettingInvalid

_GREETING = b"220"
_SERVER_ERROR = 500
_LINE_MAX_BYTES = 2048


async def greets(name: str, host: str, port: int) -> None:
    """Return when a mail server greets (RFC 5321: code 220); DependencyDown otherwise."""
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=_LINE_MAX_BYTES)
        try:
            line = await reader.readline()
            writer.write(b"QUIT\r\n")
            await writer.drain()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    except (OSError, ValueError) as error:
        raise DependencyDown(dependency=name, reason=str(error) or "no answer") from error
    if not line.startswith(_GREETING):
        told = line.decode("ascii", "replace").strip()[:100] or "it hung up"
        raise DependencyDown(dependency=name, reason=f"it does not greet: {told}")


async def answers(name: str, http: httpx.AsyncClient, url: str) -> None:
    """Return when a web server answers at all, be it with a refusal; DependencyDown otherwise."""
    try:
        answer = await http.head(url)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise DependencyDown(dependency=name, reason=reason) from error
    if answer.status_code >= _SERVER_ERROR:
        raise DependencyDown(dependency=name, reason=f"status {answer.status_code}")


def mail_server(setting: str, value: str) -> tuple[str, int]:
    """Return host and port of `host:port`; SettingInvalid naming the setting. Pure."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        hint = "write host:port, such as smtp.gmail.com:587"
        raise SettingInvalid(name=setting, reason=f"it is {value!r}", hint=hint)
    return host.strip("[]"), int(port)


def web_server(setting: str, value: str) -> str:
    """Return the address; SettingInvalid naming the setting when it is none. Pure."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        hint = "write https://NAME.communication.azure.com"
        raise SettingInvalid(name=setting, reason=f"it is {value!r}", hint=hint)
    return value
