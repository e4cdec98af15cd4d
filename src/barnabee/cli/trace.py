"""`barnabee trace`: waterfall of one turn."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabee.cli import echo
from barnabee.cli.logs import LOKI_OPTION
from barnabee.core.errors import BadRequest, DependencyDown, NotFound

if TYPE_CHECKING:
    import httpx

    from barnabee.store.waterfall import Bar, Waterfall

_TIMEOUT_S = 10.0
_BAR_WIDTH = 40


def show_trace(
    trace_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Trace id; default: the last turn.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    loki: Annotated[str | None, LOKI_OPTION] = None,
) -> None:
    """Show the stages of one turn as bars, with exceeded budgets and errors."""
    import asyncio

    from barnabee.core.tracing import is_trace_id

    if trace_id is not None and not is_trace_id(trace_id):
        raise BadRequest(field="trace id", reason="it has 32 hexadecimal digits")
    waterfall = asyncio.run(_read_waterfall(trace_id, loki))
    if as_json:
        echo(json.dumps(waterfall.as_dict(), indent=2, ensure_ascii=False))
        return
    for line in draw_waterfall(waterfall):
        echo(line)


async def _read_waterfall(trace_id: str | None, loki: str | None) -> Waterfall:
    from barnabee.cli.clients import open_clients
    from barnabee.store.waterfall import make_waterfall

    async with open_clients(_TIMEOUT_S) as clients:
        system = await _get(clients.api, "/api/system")
        turn, timings = await _read_turn(clients.api, trace_id)
    budgets_ms: dict[str, int] = system["stage_budgets_ms"]
    recorded = turn or timings
    turn_id = recorded["trace_id"] if recorded else trace_id or ""
    log_lines = await _read_log(turn_id, loki, system["retention"]["logs_days"])
    if recorded is None and not log_lines:
        raise NotFound(what=f"turn {turn_id}, neither in the database nor in the log")
    return make_waterfall(turn_id, turn, timings, log_lines, budgets_ms)


async def _read_log(trace_id: str, loki: str | None, retention_days: int) -> list[dict[str, Any]]:
    """Return the turn's log lines, from Loki if a URL is given, else from the local log."""
    if not loki:
        from barnabee.up import logfile, paths

        return logfile.find_trace(paths.local_paths().log, trace_id)
    from barnabee.clients.loki import LokiClient, make_trace_query

    client, now_ns = LokiClient(loki), time.time_ns()
    try:
        begin_ns = now_ns - retention_days * 86_400 * 1_000_000_000
        return await client.query(make_trace_query(trace_id), begin_ns, now_ns)
    finally:
        await client.aclose()


async def _read_turn(
    api: httpx.AsyncClient, trace_id: str | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the turn and the voice service's timings, each None if not recorded."""
    if trace_id is None:
        turns = (await _get(api, "/v1/turns?limit=1"))["turns"]
        if not turns:
            raise NotFound(what="turn yet: ask the assistant something first")
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
    refusal = responses.parse_error(response, "api")
    if refusal is not None:
        raise refusal
    with responses.wrap_parse_errors("api"):
        body: dict[str, Any] = response.json()
        return body


# ---- text ---------------------------------------------------------------------------------------


def draw_waterfall(waterfall: Waterfall, width: int = _BAR_WIDTH) -> list[str]:
    """Return the lines of text that show `waterfall`; bars are `width` characters wide."""
    lines = [f"turn {waterfall.trace_id}{_format_time(waterfall)}", *_describe_turn(waterfall), ""]
    name_width = max((len(bar.stage) for bar in waterfall.bars), default=0)
    for bar in waterfall.bars:
        budget = f"  over its budget of {bar.budget_ms} ms" if bar.is_over_budget else ""
        lines.append(
            f"{bar.service:<6}{bar.stage:<{name_width + 2}}|"
            f"{_draw_bar(bar, waterfall.total_ms, width)}|"
            f"{bar.at_ms:>9.1f} +{bar.took_ms:.1f} ms{budget}"
        )
    lines += ["", f"total {waterfall.total_ms:.1f} ms"]
    lines += [
        f"error {fault.service}: {fault.message} [{fault.code}]" for fault in waterfall.faults
    ]
    return lines


def _describe_turn(waterfall: Waterfall) -> list[str]:
    turn, timings = waterfall.turn or {}, waterfall.timings or {}
    degraded = sorted({*turn.get("degraded", ()), *timings.get("degraded", ())})
    heard = timings.get("heard") or "nothing"
    pairs = (
        ("room", timings.get("room")),
        ("said", turn.get("utterance")),
        ("reply", turn.get("reply")),
        ("intent", turn.get("intent")),
        ("STT", timings.get("engine")),
        ("filler", timings.get("filler")),
        ("barge-in", f"heard up to: {heard}" if timings.get("interrupted") else None),
        ("degraded", ", ".join(degraded)),
    )
    return [f"{name:<9} {value}" for name, value in pairs if value]


def _format_time(waterfall: Waterfall) -> str:
    moment = (waterfall.turn or {}).get("created_at") or (waterfall.timings or {}).get("said_at")
    return f"  {moment}" if moment else ""


def _draw_bar(bar: Bar, total_ms: float, width: int) -> str:
    scale = width / total_ms if total_ms else 0.0
    begin = min(width - 1, int(bar.at_ms * scale))
    length = max(1, min(width - begin, round(bar.took_ms * scale)))
    return (" " * begin + "#" * length).ljust(width)
