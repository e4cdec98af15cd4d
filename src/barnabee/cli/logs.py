"""`barnabee logs`: the house's log, filtered, followed; from the local file or from Loki."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabee.core.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from barnabee.clients.loki import Loki

_LOOK_EVERY_S = 1.0
_LATE_NS = 5_000_000_000  # a line may reach Loki this long after it was written
_AT_ONCE = 5000
LOKI = typer.Option(
    "--loki", metavar="URL", envvar="LOKI_URL", help="Ask this Loki, not the local log."
)


def logs(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written next.")
    ] = False,
    component: Annotated[
        str | None, typer.Option("--component", "-c", help="Of this service only.")
    ] = None,
    trace: Annotated[str | None, typer.Option("--trace", help="Of this trace id only.")] = None,
    lines: Annotated[
        int, typer.Option("-n", min=0, max=_AT_ONCE, help="How many of the last lines to show.")
    ] = 50,
    raw: Annotated[bool, typer.Option("--json", help="Print the JSON lines as they are.")] = False,
    loki: Annotated[str | None, LOKI] = None,
    since: Annotated[
        int, typer.Option("--since", metavar="MINUTES", min=1, help="How far back Loki is asked.")
    ] = 60,
) -> None:
    """Show the house's log."""
    import asyncio
    from contextlib import suppress

    from barnabee.core.trace_context import is_id

    if loki and trace and not is_id(trace):
        raise BadRequest(field="trace id", reason="it has 32 hexadecimal digits")
    with suppress(KeyboardInterrupt):
        if loki:
            asked = _Asked(component, trace, lines, since * 60)
            asyncio.run(_of_loki(loki, asked, follow=follow, raw=raw))
        else:
            _of_file(component, trace, lines, follow=follow, raw=raw)


def _of_file(
    component: str | None, trace: str | None, lines: int, *, follow: bool, raw: bool
) -> None:
    from barnabee.up import log_reader as written
    from barnabee.up import paths

    path = paths.local().log
    if not path.exists():
        raise NotFound(what=f"log yet ({path}): start the house with `./barnabee up`")

    def wanted(record: dict[str, Any]) -> bool:
        of_component = component in {None, record.get("component")}
        return of_component and trace in {None, record.get("trace_id")}

    show = _Show(raw=raw)
    for record in written.shown(path, wanted, lines, everything=trace is not None, follow=follow):
        show(record)


class _Asked:
    """What is asked of Loki."""

    def __init__(self, component: str | None, trace: str | None, lines: int, past_s: int) -> None:
        from barnabee.clients import loki

        self.logql = loki.of_trace(trace, component) if trace else loki.selector(component)
        self.lines = lines
        self.past_s = past_s


async def _of_loki(url: str, asked: _Asked, *, follow: bool, raw: bool) -> None:
    import asyncio

    from barnabee.clients.loki import Loki

    show = _Show(raw=raw)
    client = Loki(url)
    try:
        coming = _Coming(client, asked.logql)
        if follow:
            await coming.look()  # what is there already is not what comes next
        if asked.lines:
            now_ns = time.time_ns()
            for record in await client.query(
                asked.logql,
                now_ns - asked.past_s * 1_000_000_000,
                now_ns,
                limit=asked.lines,
                newest=True,
            ):
                coming.is_new(record)
                show(record)
        while follow:
            await asyncio.sleep(_LOOK_EVERY_S)
            for record in await coming.look():
                show(record)
    finally:
        await client.aclose()


class _Coming:
    """Lines as they come, each once: every look goes back as far as a line may be late."""

    def __init__(self, client: Loki, logql: str) -> None:
        self._client = client
        self._logql = logql
        self._seen: dict[str, int] = {}

    async def look(self) -> list[dict[str, Any]]:
        """Return the lines that were not seen yet."""
        now_ns = time.time_ns()
        found = await self._client.query(
            self._logql, now_ns - _LATE_NS, now_ns, limit=_AT_ONCE, newest=True
        )
        new = [record for record in found if self.is_new(record)]
        oldest_ns = now_ns - 2 * _LATE_NS
        self._seen = {text: at_ns for text, at_ns in self._seen.items() if at_ns > oldest_ns}
        return new

    def is_new(self, record: dict[str, Any]) -> bool:
        """Return whether a line was not seen yet, and remember it."""
        text = json.dumps(record, sort_keys=True, default=str)
        new = text not in self._seen
        self._seen[text] = time.time_ns()
        return new


class _Show:
    """Prints records, as JSON or for people."""

    def __init__(self, *, raw: bool) -> None:
        from rich.console import Console

        self._raw = raw
        self._console = Console(highlight=False, soft_wrap=True)

    def __call__(self, record: dict[str, Any]) -> None:
        from barnabee.up.console import log_line

        if self._raw:
            typer.echo(json.dumps(record, ensure_ascii=False))
        else:
            self._console.print(log_line(record))
