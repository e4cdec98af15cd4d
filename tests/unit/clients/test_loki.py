"""What is asked of Loki, and what its answers become."""

from __future__ import annotations

import httpx
import pytest

from barnabee.clients.loki import Loki, base_url, of_trace, records, selector
from barnabee.core.errors import DependencyDown, SettingInvalid

TRACE = "0af7651916cd43dd8448eb211c80319c"


def answer(*values: list[str], **labels: str) -> dict[str, object]:
    streams = [{"stream": labels, "values": list(values)}]
    return {"status": "success", "data": {"resultType": "streams", "result": streams}}


def test_queries_have_the_documented_form() -> None:
    assert selector("api") == '{component="api"}'
    assert selector(None) == '{component=~".+"}'
    expected = f'{{component=~".+"}} |= "{TRACE}" | json | trace_id="{TRACE}"'
    assert of_trace(TRACE) == expected
    assert selector('a"b') == '{component="a\\"b"}'


def test_json_lines_come_back_as_they_were_written_and_in_order() -> None:
    late, early = '{"event": "b", "component": "api"}', '{"event": "a", "component": "api"}'
    found = records(answer(["2000000000", late], ["1000000000", early], component="api"))
    assert [one["event"] for one in found] == ["a", "b"]
    assert found[0]["timestamp"] == "1970-01-01T00:00:01Z"


def test_a_line_of_somebody_else_is_an_event_of_its_component() -> None:
    found = records(answer(["0", "Accepting connections"], component="redis", level="warning"))
    assert found[0] | {"timestamp": ""} == {
        "component": "redis",
        "level": "warning",
        "event": "Accepting connections",
        "timestamp": "",
    }


@pytest.mark.parametrize(
    "body", ['{"data": {"resultType": "matrix", "result": []}}', "[]", "nothing", '{"data": 1}']
)
async def test_an_answer_that_makes_no_sense_is_a_dependency_that_is_down(body: str) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=body))
    with pytest.raises(DependencyDown, match="loki"):
        await Loki("http://loki", transport=transport).query("{}", 0, 1)


async def test_a_refusal_is_told_with_the_servers_words() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(400, text="parse error at line 1"))
    with pytest.raises(DependencyDown, match="parse error at line 1"):
        await Loki("http://loki", transport=transport).query("{", 0, 1)


async def test_the_newest_lines_are_asked_for_when_only_some_are_wanted() -> None:
    asked = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        return httpx.Response(200, json=answer())

    client = Loki("http://loki/", transport=httpx.MockTransport(respond))
    await client.query("{a=~'b'}", 1, 2, limit=3, newest=True)
    expected = {"query": "{a=~'b'}", "start": "1", "end": "2", "limit": "3"}
    assert asked == [expected | {"direction": "backward"}]


@pytest.mark.parametrize("url", ["", "loki:3100", "ftp://loki", "http://"])
def test_what_is_no_address_is_refused_by_name(url: str) -> None:
    with pytest.raises(SettingInvalid, match="LOKI_URL"):
        base_url(url)


def test_the_push_address_is_taken_too() -> None:
    assert base_url("http://loki:3100/loki/api/v1/push") == "http://loki:3100"
