"""Logs of a real deployment in a real LogQL server: pushed, queried, drawn as one trace."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from barnabee.clients.loki import LokiClient, make_trace_query
from barnabee.clients.loki_push import LogShipper
from support.deployment import Deployment
from support.logql.server import run_logql_server
from support.otlp import SpanReceiver, run_receiver
from support.wait import eventually

pytestmark = pytest.mark.timeout(900)
HOUR_NS = 3_600_000_000_000
# no voice probe, which uses all cores for seconds
QUIET = {"probe": {"every_s": 0}}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_logql_server(tmp_path_factory.mktemp("logql")) as found:
        yield found


@pytest.fixture(scope="module")
def traces() -> Iterator[SpanReceiver]:
    with run_receiver() as found:
        yield found


@pytest.fixture(scope="module")
def deployment(
    url: str, traces: SpanReceiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOKI_URL", url)  # for the runner and the commands
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces.url)
        found = Deployment(tmp_path_factory.mktemp("logged"), demo_home=False, tables=QUIET)
        try:
            found.start()
            yield found
        finally:
            found.clean_up()


async def query(url: str, logql: str) -> list[dict[str, Any]]:
    client, now_ns = LokiClient(url), time.time_ns()
    try:
        return await client.query(logql, now_ns - HOUR_NS, now_ns + HOUR_NS)
    finally:
        await client.aclose()


async def test_the_three_queries_of_the_specification(deployment: Deployment, url: str) -> None:
    turn = await deployment.send_command("what time is it")
    async with deployment.client() as client:
        assert (await client.get("/v1/turns/no-trace-id")).status_code == 400

    async def all_stored() -> bool:
        failures = await query(url, '{component="api"} |= "bad_request"')
        timed = await query(url, '{component="api"} | json | latency_ms > 0')
        traced = await query(url, f'{{component="api"}} | json | trace_id="{turn["trace_id"]}"')
        assert {one["code"] for one in failures} == {"bad_request"}
        assert timed
        assert all(one["latency_ms"] > 0 for one in timed)
        assert {one["trace_id"] for one in traced} == {turn["trace_id"]}
        return True

    await eventually(all_stored, every_s=0.5)
    assert await query(url, '{component="api"} | json | latency_ms > 3600000') == []


async def test_lines_have_three_labels(deployment: Deployment, url: str) -> None:
    await deployment.send_command("what time is it")

    async def all_stored() -> bool:
        found = await query(url, '{component=~"runner|redis"}')
        return {one["component"] for one in found} == {"runner", "redis"}

    await eventually(all_stored, every_s=0.5)
    async with httpx.AsyncClient(base_url=url) as client:
        labels = (await client.get("/loki/api/v1/labels")).json()["data"]
    assert set(labels) == {"component", "host", "level"}


async def test_lines_of_a_turn_are_the_same_from_loki_and_from_files(
    deployment: Deployment,
) -> None:
    turn = await deployment.send_command("remember that the bins go out on Tuesday")
    trace_id = turn["trace_id"]

    def read_lines(*options: str) -> list[dict[str, Any]]:
        done = deployment.run_cli("logs", "--json", "--trace", trace_id, *options)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        without_host = [{k: v for k, v in line.items() if k != "host"} for line in lines]
        return sorted(without_host, key=lambda line: str(line["timestamp"]))

    async def is_same() -> bool:
        written = read_lines("--loki", "")
        assert {"api", "gpu", "worker"} <= {line["component"] for line in written}
        assert read_lines() == written
        return True

    await eventually(is_same, every_s=1)
    drawn = [
        json.loads(deployment.run_cli("trace", trace_id, "--json", *options).stdout)
        for options in ([], ["--loki", ""])
    ]
    assert drawn[0]["stages"] == drawn[1]["stages"]
    assert {bar["service"] for bar in drawn[0]["stages"]} >= {"api", "gpu"}


async def test_followed_lines_are_shown_once_as_they_arrive(deployment: Deployment) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "barnabee", "logs", "-f", "--json", "-c", "api"),
        env=deployment.environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    turns, shown = [(await deployment.send_command("what time is it"))["trace_id"]], list[str]()
    try:
        async with asyncio.timeout(120):
            while len(turns) < 3 or turns[-1] not in shown:
                line = json.loads(await process.stdout.readline())
                shown += [line["trace_id"]] if line["trace_id"] in turns else []
                if shown and turns[-1] == shown[-1] and len(turns) < 3:
                    turns.append((await deployment.send_command("what time is it"))["trace_id"])
    finally:
        process.kill()
        await process.wait()
    assert shown == turns


async def test_turn_is_one_trace_over_all_services(
    deployment: Deployment, traces: SpanReceiver
) -> None:
    turn = await deployment.send_command("remember that the bins go out on Friday")

    async def exported() -> bool:
        services = {span.service for span in traces.list_trace(turn["trace_id"])}
        return services >= {"barnabee-api", "barnabee-gpu", "barnabee-worker"}

    await eventually(exported, every_s=0.5)
    spans = traces.list_trace(turn["trace_id"])
    by_id = {span.span_id: span for span in spans}
    command = next(span for span in spans if span.name == "POST /v1/command")
    embedding = next(span for span in spans if span.name == "POST /v1/embeddings")
    inference = next(span for span in spans if span.name == "embed")
    call = by_id[embedding.parent_id]
    assert (call.service, call.name, call.parent_id) == ("barnabee-api", "POST", command.span_id)
    assert inference.parent_id == embedding.span_id
    stages = {span.name for span in spans if span.parent_id == command.span_id}
    assert stages >= {"session", "intent", "store"}
    assert all(span.took_ms <= command.took_ms + 1 for span in spans if span.name in stages)
    assert b"bins" not in traces.raw


def test_accept_finds_its_line_by_logql(deployment: Deployment, url: str) -> None:
    done = deployment.run_cli("accept", "--json", "--allow-unchecked")
    rows = {row["criterion"]: row for row in json.loads(done.stdout)["criteria"]}
    assert rows["log aggregation"]["verdict"] == "passed", rows
    assert rows["log aggregation"]["source"] == f"LogQL at {url}"
    assert 0 < rows["log aggregation"]["figure"] <= rows["log aggregation"]["limit"]
    print("found a line after", rows["log aggregation"]["figure"], "s")


async def test_lines_with_special_characters_are_unchanged(url: str) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    lines = [
        {"component": "odd", "level": "info", "event": text, "trace_id": trace_id}
        for text in ('quote " and \\ and {brace}', "line\nbreak", "émoji 🐝", "")
    ]
    shipper = LogShipper(url, "test", 1 << 20, lambda _event, _fields: None)
    shipper.start()
    for line in lines:
        shipper.offer(line)
    shipper.stop()
    assert (shipper.counts.sent, shipper.counts.dropped) == (len(lines), 0)

    async def all_stored() -> bool:
        found = await query(url, make_trace_query(trace_id, "odd"))
        assert sorted(one["event"] for one in found) == sorted(str(one["event"]) for one in lines)
        return True

    await eventually(all_stored, every_s=0.5)
