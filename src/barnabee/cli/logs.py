"""`barnabee logs`: shows, filters and follows the log, from the local file or from Loki."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabee.cli import echo
from barnabee.core.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from barnabee.clients.loki import LokiClient

_POLL_S = 1.0
_LATE_NS = 5_000_000_000  # delay between the writing of a line and its arrival in Loki
_MAX_LINES = 5000
LOKI_OPTION = typer.Option(
    "--loki", metavar="URL", envvar="LOKI_URL", help="Query this Loki instead of the local log."
)


def show_logs(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Continue with new lines.")
    ] = False,
    component: Annotated[
        str | None, typer.Option("--component", "-c", help="Only this service.")
    ] = None,
    trace: Annotated[str | None, typer.Option("--trace", help="Only this trace id.")] = None,
    lines: Annotated[int, typer.Option("-n", min=0, max=_MAX_LINES, help="Number of lines.")] = 50,
    raw: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
    loki: Annotated[str | None, LOKI_OPTION] = None,
    since: Annotated[
        int, typer.Option("--since", metavar="MINUTES", min=1, help="Time range of a Loki query.")
    ] = 60,
) -> None:
    """Show the log."""
    import asyncio
    from contextlib import suppress

    from barnabee.core.tracing import is_trace_id

    if loki and trace and not is_trace_id(trace):
        raise BadRequest(field="trace id", reason="it has 32 hexadecimal digits")
    with suppress(KeyboardInterrupt):
        if loki:
            query = _LokiQuery(component, trace, lines, since * 60)
            asyncio.run(_show_from_loki(loki, query, follow=follow, raw=raw))
        else:
            _show_from_file(component, trace, lines, follow=follow, raw=raw)


def _show_from_file(
    component: str | None, trace: str | None, lines: int, *, follow: bool, raw: bool
) -> None:
    from barnabee.up import logfile, paths

    path = paths.local_paths().log
    if not path.exists():
        raise NotFound(what=f"log yet ({path}): start the assistant with `./barnabee up`")

    def is_wanted(record: dict[str, Any]) -> bool:
        is_of_component = component in {None, record.get("component")}
        return is_of_component and trace in {None, record.get("trace_id")}

    printer = _Printer(raw=raw)
    for record in logfile.tail_records(
        path, is_wanted, lines, include_rotated=trace is not None, follow=follow
    ):
        printer.print(record)


class _LokiQuery:
    """A query and its limits."""

    def __init__(self, component: str | None, trace: str | None, lines: int, past_s: int) -> None:
        from barnabee.clients import loki

        self.logql = (
            loki.make_trace_query(trace, component) if trace else loki.make_selector(component)
        )
        self.lines = lines
        self.past_s = past_s


async def _show_from_loki(url: str, query: _LokiQuery, *, follow: bool, raw: bool) -> None:
    import asyncio

    from barnabee.clients.loki import LokiClient

    printer = _Printer(raw=raw)
    client = LokiClient(url)
    try:
        follower = _Follower(client, query.logql)
        if follow:
            await follower.poll()  # marks existing lines as seen
        if query.lines:
            now_ns = time.time_ns()
            for record in await client.query(
                query.logql,
                now_ns - query.past_s * 1_000_000_000,
                now_ns,
                limit=query.lines,
                newest=True,
            ):
                follower.is_new(record)
                printer.print(record)
        while follow:
            await asyncio.sleep(_POLL_S)
            for record in await follower.poll():
                printer.print(record)
    finally:
        await client.aclose()


class _Follower:
    """Polls for new lines and returns each once; queries overlap by the delay of a line."""

    def __init__(self, client: LokiClient, logql: str) -> None:
        self._client = client
        self._logql = logql
        self._seen: dict[str, int] = {}

    async def poll(self) -> list[dict[str, Any]]:
        """Return the lines not seen yet."""
        now_ns = time.time_ns()
        records = await self._client.query(
            self._logql, now_ns - _LATE_NS, now_ns, limit=_MAX_LINES, newest=True
        )
        new = [record for record in records if self.is_new(record)]
        oldest_ns = now_ns - 2 * _LATE_NS
        self._seen = {text: at_ns for text, at_ns in self._seen.items() if at_ns > oldest_ns}
        return new

    def is_new(self, record: dict[str, Any]) -> bool:
        """Return whether a line is seen for the first time, and mark it as seen."""
        text = json.dumps(record, sort_keys=True, default=str)
        is_new = text not in self._seen
        self._seen[text] = time.time_ns()
        return is_new


class _Printer:
    """Prints records as JSON or as coloured text."""

    def __init__(self, *, raw: bool) -> None:
        from rich.console import Console

        self._raw = raw
        self._console = Console(highlight=False, soft_wrap=True)

    def print(self, record: dict[str, Any]) -> None:
        from barnabee.up.console import format_record

        if self._raw:
            echo(json.dumps(record, ensure_ascii=False))
        else:
            self._console.print(format_record(record))
