"""Queries and responses of Loki."""

from __future__ import annotations

import httpx
import pytest

from barnabee.clients.loki import (
    LokiClient,
    make_selector,
    make_trace_query,
    parse_base_url,
    parse_records,
)
from barnabee.core.errors import DependencyDown, SettingInvalid

TRACE = "0af7651916cd43dd8448eb211c80319c"


def make_response(*values: list[str], **labels: str) -> dict[str, object]:
    streams = [{"stream": labels, "values": list(values)}]
    return {"status": "success", "data": {"resultType": "streams", "result": streams}}


def test_queries_have_the_documented_form() -> None:
    assert make_selector("api") == '{component="api"}'
    assert make_selector(None) == '{component=~".+"}'
    expected = f'{{component=~".+"}} |= "{TRACE}" | json | trace_id="{TRACE}"'
    assert make_trace_query(TRACE) == expected
    assert make_selector('a"b') == '{component="a\\"b"}'


def test_json_lines_are_returned_unchanged_and_in_order() -> None:
    late, early = '{"event": "b", "component": "api"}', '{"event": "a", "component": "api"}'
    entries = parse_records(
        make_response(["2000000000", late], ["1000000000", early], component="api")
    )
    assert [entry["event"] for entry in entries] == ["a", "b"]
    assert entries[0]["timestamp"] == "1970-01-01T00:00:01Z"


def test_plain_text_line_is_an_event_of_its_component() -> None:
    entries = parse_records(
        make_response(["0", "Accepting connections"], component="redis", level="warning")
    )
    assert entries[0] | {"timestamp": ""} == {
        "component": "redis",
        "level": "warning",
        "event": "Accepting connections",
        "timestamp": "",
    }


@pytest.mark.parametrize(
    "body", ['{"data": {"resultType": "matrix", "result": []}}', "[]", "nothing", '{"data": 1}']
)
async def test_invalid_response_is_dependency_down(body: str) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=body))
    with pytest.raises(DependencyDown, match="loki"):
        await LokiClient("http://loki", transport=transport).query("{}", 0, 1)


async def test_refusal_has_the_message_of_the_server() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(400, text="parse error at line 1"))
    with pytest.raises(DependencyDown, match="parse error at line 1"):
        await LokiClient("http://loki", transport=transport).query("{", 0, 1)


async def test_newest_entries_are_requested_backward() -> None:
    requests = []

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(dict(request.url.params))
        return httpx.Response(200, json=make_response())

    client = LokiClient("http://loki/", transport=httpx.MockTransport(respond))
    await client.query("{a=~'b'}", 1, 2, limit=3, newest=True)
    expected = {"query": "{a=~'b'}", "start": "1", "end": "2", "limit": "3"}
    assert requests == [expected | {"direction": "backward"}]


@pytest.mark.parametrize("url", ["", "loki:3100", "ftp://loki", "http://"])
def test_invalid_url_names_the_setting(url: str) -> None:
    with pytest.raises(SettingInvalid, match="LOKI_URL"):
        parse_base_url(url)


def test_push_url_is_accepted() -> None:
    assert parse_base_url("http://loki:3100/loki/api/v1/push") == "http://loki:3100"
