"""Reachability checks of external mail and web servers.

Without credentials and side effects: the mail server's greeting, and an HTTP HEAD request.
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


async def check_mail_server(name: str, host: str, port: int) -> None:
    """Raise DependencyDown unless the mail server greets with code 220 (RFC 5321)."""
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
        answer = line.decode("ascii", "replace").strip()[:100] or "connection closed"
        raise DependencyDown(dependency=name, reason=f"no SMTP greeting: {answer}")


async def check_web_server(name: str, http: httpx.AsyncClient, url: str) -> None:
    """Raise DependencyDown unless the web server answers with a status below 500."""
    try:
        response = await http.head(url)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise DependencyDown(dependency=name, reason=reason) from error
    if response.status_code >= _SERVER_ERROR:
        raise DependencyDown(dependency=name, reason=f"status {response.status_code}")


def parse_mail_server(setting: str, value: str) -> tuple[str, int]:
    """Return host and port of `host:port`; SettingInvalid names the setting. Pure."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        hint = "write host:port, such as smtp.gmail.com:587"
        raise SettingInvalid(name=setting, reason=f"it is {value!r}", hint=hint)
    return host.strip("[]"), int(port)


def parse_web_server(setting: str, value: str) -> str:
    """Return `value` if it is an http(s) URL; SettingInvalid names the setting. Pure."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        hint = "write https://NAME.communication.azure.com"
        raise SettingInvalid(name=setting, reason=f"it is {value!r}", hint=hint)
    return value
