"""Client of Loki's query API (LogQL over HTTP).

Labels are `component`, `host` and `level` only. The trace id is structured metadata or part of the
JSON line; `make_trace_query` finds both. docs/reference/logs.md has the form of each query.
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
LogEntry = dict[str, Any]


class LokiClient:
    """Client of one Loki server; call `aclose` at the end."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = parse_base_url(url)
        self._http = httpx.AsyncClient(
            base_url=self.url, timeout=timeout_s, transport=transport, trust_env=False
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def query(
        self, logql: str, start_ns: int, end_ns: int, *, limit: int = 1000, newest: bool = False
    ) -> list[LogEntry]:
        """Return the entries of [start_ns, end_ns), oldest first.

        Over `limit`, the oldest or the `newest` ones. Raises DependencyDown without a usable
        response.
        """
        params: dict[str, str | int] = {
            "query": logql,
            "start": start_ns,
            "end": end_ns,
            "limit": limit,
            "direction": "backward" if newest else "forward",
        }
        try:
            response = await self._http.get(_QUERY_PATH, params=params)
            if response.is_error:
                reason = f"status {response.status_code}: {response.text[:200].strip()}"
                raise DependencyDown(dependency=NAME, reason=reason)
            return parse_records(response.json())
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DependencyDown(dependency=NAME, reason=reason) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"invalid response: {error}"
            raise DependencyDown(dependency=NAME, reason=reason) from error


def make_selector(component: str | None) -> str:
    """Return the stream selector of one component or of all. Pure."""
    return f"{{component={json.dumps(component)}}}" if component else '{component=~".+"}'


def make_trace_query(trace_id: str, component: str | None = None) -> str:
    """Return the query for all lines of a trace id of 32 hexadecimal digits. Pure.

    The line filter is first because it needs no parsing; `| json` finds the id on servers without
    structured metadata and changes nothing on others.
    """
    return f'{make_selector(component)} |= "{trace_id}" | json | trace_id="{trace_id}"'


def parse_records(response: Any) -> list[LogEntry]:
    """Return the entries of a query response, oldest first, as in the log file. Pure."""
    data = response["data"]
    if data["resultType"] != "streams":
        raise ValueError(f"result type {data['resultType']} instead of streams")
    entries = [
        (int(value[0]), _make_entry(stream["stream"], int(value[0]), str(value[1])))
        for stream in data["result"]
        for value in stream["values"]
    ]
    entries.sort(key=lambda pair: pair[0])
    return [entry for _, entry in entries]


def parse_base_url(url: str) -> str:
    """Return the server's URL without trailing slash or push path; SettingInvalid otherwise."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        hint = "write http://host:3100"
        raise SettingInvalid(name="LOKI_URL", reason=f"it is {url!r}", hint=hint)
    return url.rstrip("/").removesuffix(PUSH_PATH)


def _make_entry(labels: dict[str, str], at_ns: int, line: str) -> LogEntry:
    stamp = datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat().replace("+00:00", "Z")
    known = {key: labels[key] for key in (*LABELS, "trace_id") if labels.get(key)}
    base: LogEntry = {"component": "?", "level": "info", "event": "", "timestamp": stamp} | known
    try:
        fields = json.loads(line)
    except ValueError:
        return base | {"event": line}
    return base | fields if isinstance(fields, dict) else base | {"event": line}
