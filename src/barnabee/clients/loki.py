"""Whoever answers LogQL over HTTP (Loki's API): asked for lines of the log.

Labels are `component`, `host` and `level` alone. The trace id is structured metadata, or stands in
the JSON line: `of_trace` finds it either way. docs/reference/logs.md has the form of each query.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from barnabee.core.errors import DependencyDown, SettingInvalid

NAME = "loki"
LABELS = ("component", "host", "level")
PUSH_PATH = "/loki/api/v1/push"
_QUERY_PATH = "/loki/api/v1/query_range"
Record = dict[str, Any]


class Loki:
    """A client of one server; `aclose` it at the end."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Remember where; `transport` is for tests."""
        self.url = base_url(url)
        self._http = httpx.AsyncClient(
            base_url=self.url, timeout=timeout_s, transport=transport, trust_env=False
        )

    async def aclose(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def query(
        self, logql: str, start_ns: int, end_ns: int, *, limit: int = 1000, newest: bool = False
    ) -> list[Record]:
        """Return records of [start_ns, end_ns), oldest first; of too many the oldest or newest.

        DependencyDown when there is no usable answer.
        """
        asked: dict[str, str | int] = {
            "query": logql,
            "start": start_ns,
            "end": end_ns,
            "limit": limit,
            "direction": "backward" if newest else "forward",
        }
        try:
            answer = await self._http.get(_QUERY_PATH, params=asked)
            if answer.is_error:
                reason = f"status {answer.status_code}: {answer.text[:200].strip()}"
                raise DependencyDown(dependency=NAME, reason=reason)
            return records(answer.json())
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DependencyDown(dependency=NAME, reason=reason) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"an answer not understood: {error}"
            raise DependencyDown(dependency=NAME, reason=reason) from error


def selector(component: str | None) -> str:
    """Return the stream selector of one component, or of all. Pure."""
    return f"{{component={json.dumps(component)}}}" if component else '{component=~".+"}'


def of_trace(trace_id: str, component: str | None = None) -> str:
    """Return the query of all lines of a trace, which is 32 hexadecimal digits. Pure.

    The line filter comes first because it needs no parsing; `| json` finds the id where a server
    keeps no structured metadata, and changes nothing where it does.
    """
    return f'{selector(component)} |= "{trace_id}" | json | trace_id="{trace_id}"'


def records(answer: Any) -> list[Record]:
    """Return the records of a query's answer, oldest first, as the log file has them. Pure."""
    data = answer["data"]
    if data["resultType"] != "streams":
        raise ValueError(f"{data['resultType']} is not lines")
    found = [
        (int(value[0]), _record(stream["stream"], int(value[0]), str(value[1])))
        for stream in data["result"]
        for value in stream["values"]
    ]
    found.sort(key=lambda pair: pair[0])
    return [record for _, record in found]


def base_url(url: str) -> str:
    """Return the server's address without its closing slash; SettingInvalid when it is none."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        hint = "write http://host:3100"
        raise SettingInvalid(name="LOKI_URL", reason=f"it is {url!r}", hint=hint)
    return url.rstrip("/").removesuffix(PUSH_PATH)


def _record(labels: dict[str, str], at_ns: int, line: str) -> Record:
    stamp = datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat().replace("+00:00", "Z")
    known = {key: labels[key] for key in (*LABELS, "trace_id") if labels.get(key)}
    base: Record = {"component": "?", "level": "info", "event": "", "timestamp": stamp} | known
    try:
        told = json.loads(line)
    except ValueError:
        return base | {"event": line}
    return base | told if isinstance(told, dict) else base | {"event": line}
