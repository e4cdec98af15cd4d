"""`barnabee trace`: where the time of one turn went."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabee.cli.logs import LOKI
from barnabee.core.errors import BadRequest, DependencyDown, NotFound

if TYPE_CHECKING:
    import httpx

    from barnabee.store.waterfall import Waterfall

_TIMEOUT_S = 10.0


def trace(
    trace_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Its trace id; default: the last turn.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    loki: Annotated[str | None, LOKI] = None,
) -> None:
    """Show one turn as bars: what each service did when, what was slow, what went wrong."""
    import asyncio

    from barnabee.cli.waterfall import draw
    from barnabee.core.trace_context import is_id

    if trace_id is not None and not is_id(trace_id):
        raise BadRequest(field="trace id", reason="it has 32 hexadecimal digits")
    fall = asyncio.run(_fall(trace_id, loki))
    if as_json:
        typer.echo(json.dumps(fall.as_dict(), indent=2, ensure_ascii=False))
        return
    for line in draw(fall):
        typer.echo(line)


async def _fall(trace_id: str | None, loki: str | None) -> Waterfall:
    from barnabee.cli.clients import opened
    from barnabee.store.waterfall import layout

    async with opened(_TIMEOUT_S) as way:
        told = await _get(way.api, "/api/system")
        turn, spoken = await _record(way.api, trace_id)
    budgets_ms: dict[str, int] = told["stage_budgets_ms"]
    known = turn or spoken
    found = known["trace_id"] if known else trace_id or ""
    lines = await _lines(found, loki, told["retention"]["logs_days"])
    if known is None and not lines:
        raise NotFound(what=f"turn {found}, neither in the record nor in the log")
    return layout(found, turn, spoken, lines, budgets_ms)


async def _lines(trace_id: str, loki: str | None, kept_days: int) -> list[dict[str, Any]]:
    """Return the turn's lines of the log, from Loki when there is one."""
    if not loki:
        from barnabee.up import log_reader, paths

        return log_reader.of_trace(paths.local().log, trace_id)
    from barnabee.clients.loki import Loki, of_trace

    client, now_ns = Loki(loki), time.time_ns()
    try:
        begin_ns = now_ns - kept_days * 86_400 * 1_000_000_000
        return await client.query(of_trace(trace_id), begin_ns, now_ns)
    finally:
        await client.aclose()


async def _record(
    api: httpx.AsyncClient, trace_id: str | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the turn and what the voice measured of it, as far as either is recorded."""
    if trace_id is None:
        turns = (await _get(api, "/v1/turns?limit=1"))["turns"]
        if not turns:
            raise NotFound(what="turn yet: say something to the house first")
        return turns[0], turns[0]["spoken"]
    try:
        turn = await _get(api, f"/v1/turns/{trace_id}")
    except NotFound:
        turn = None
    if turn is not None:
        return turn, turn["spoken"]
    try:
        return None, await _get(api, f"/v1/turns/{trace_id}/spoken")
    except NotFound:
        return None, None


async def _get(api: httpx.AsyncClient, path: str) -> dict[str, Any]:
    import httpx

    from barnabee.clients import responses

    try:
        response = await api.get(path)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise DependencyDown(dependency="api", reason=reason) from error
    if response.status_code == NotFound.status:
        raise NotFound(what=path)
    refusal = responses.error_of(response, "api")
    if refusal is not None:
        raise refusal
    with responses.understood("api"):
        found: dict[str, Any] = response.json()
        return found
