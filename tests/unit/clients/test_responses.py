"""What each refusal of the inference service means to its caller."""

from __future__ import annotations

import string
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from barnabee.clients import responses
from barnabee.clients.gpu import GpuClient
from barnabee.core import errors
from barnabee.core.errors import BadInput, BarnabeeError, DependencyDown, Overloaded
from barnabee.core.http import handle_errors


def tree(root: type[BarnabeeError]) -> Iterator[type[BarnabeeError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


EVERY = [kind for kind in tree(BarnabeeError) if kind.__module__.startswith(errors.__name__)]
# Everything that is not here is a dependency that is down.
CALLERS = {errors.BadRequest, errors.InvalidAudio, errors.InvalidUtterance, errors.TooLarge}
BUSY = {errors.Overloaded, errors.QueueFull, errors.RateLimited}
# What no inference service of ours sends; a new class must be put here or be decided upon above.
DOWN = {
    *(errors.BarnabeeError, errors.Misconfigured, errors.Unavailable),
    *(errors.Unauthorized, errors.LinkUsed, errors.NotFound, errors.ModelInUse),
    *(errors.SystemFileInvalid, errors.SettingMissing, errors.SettingInvalid),
    *(errors.ModelMissing, errors.ModelDamaged, errors.PortTaken, errors.AlreadyRunning),
    *(errors.DependencyDown, errors.Loading, errors.TimedOut, errors.NotRunning),
    *(errors.VramTooLarge, errors.VramKept, errors.VramTaken, errors.VramStuck),
    *(errors.VramExhausted, errors.EngineStuck, errors.SetUpFailed),
    *(errors.DatabaseCorrupt, errors.DatabaseReadOnly, errors.DatabaseFull),
    *(errors.DatabaseTooNew, errors.DatabaseMismatch),
    *(errors.BackupUnreachable, errors.BackupDamaged, errors.BackupFailed),
    *(errors.ProbeFailed, errors.AlertLost, errors.NotTheHolder, errors.CrossSite),
    *(errors.Replaced, errors.TooFast),  # what only a microphone is told
}


def example(kind: type[BarnabeeError], retry_after_s: int | None = None) -> BarnabeeError:
    names = {name for _, name, _, _ in string.Formatter().parse(kind.__doc__ or "") if name}
    return kind(retry_after_s=retry_after_s, **{name: f"<{name}>" for name in names})


def sent(error: BarnabeeError) -> httpx.Response:
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    return httpx.Response(error.status, json=error.body("t"), headers=headers)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.code)
def test_every_error_of_the_service_means_something_to_the_caller(
    kind: type[BarnabeeError],
) -> None:
    error = example(kind, 7)
    found = responses.error_of(sent(error))
    if kind in CALLERS:
        assert type(found) is BadInput
        assert (found.code, found.status, str(found)) == (kind.code, kind.status, str(error))
    elif kind in BUSY:
        assert type(found) is Overloaded
        assert (found.retry_after_s, str(found)) == (7, "gpu is busy: try again in a moment.")
    elif kind is errors.BadInput:
        assert type(found) is BadInput
    else:
        assert kind in DOWN, f"{kind.__name__}: is it the caller's fault, is gpu busy, or down?"
        assert type(found) is DependencyDown
        assert found.retry_after_s == 7
        assert str(error) in str(found)


def test_a_refusal_travels_through_another_service_with_its_retry_after() -> None:
    refused = responses.error_of(sent(example(errors.QueueFull, 2)))
    assert refused is not None

    async def route(_request: Request) -> Response:
        raise refused

    async def ask() -> httpx.Response:
        app = Starlette(routes=[Route("/", route)])
        handle_errors(app)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.get("/")

    import asyncio  # noqa: PLC0415 - one use

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["code"] == "overloaded"


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, {"error": {"message": "No such voice.", "code": 400}}, BadInput, "No such voice."),
        (400, {"error": "no sound"}, BadInput, "no sound."),
        (422, {"detail": "bad"}, BadInput, "bad."),
        (413, "<html>", BadInput, "status 413."),
        (404, {"error": {"message": "no model x"}}, DependencyDown, "no model x"),
        (401, {"error": {"message": "wrong key", "code": "bad_request"}}, DependencyDown, "wrong"),
        (403, {"detail": [{"loc": 1}]}, DependencyDown, "status 403"),
        (429, {}, Overloaded, "busy"),
        (500, {"code": "bad_request", "message": "confused"}, DependencyDown, "confused"),
        (502, [], DependencyDown, "status 502"),
    ],
)
def test_foreign_refusals_are_understood_too(
    status: int, body: object, kind: type[BarnabeeError], said: str
) -> None:
    found = responses.error_of(httpx.Response(status, json=body))
    assert type(found) is kind
    assert said in str(found)
    assert found.code in {one.code for one in EVERY}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "5"}, 5),
        ({"Retry-After": "0"}, 1),
        ({"Retry-After": "9" * 400}, 3600),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "\u00b2"}, None),
        ({}, None),
        (
            {
                "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
                "Retry-After": "Wed, 21 Oct 2026 07:28:09 GMT",
            },
            9,
        ),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:09 GMT"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    headers: dict[str, str], seconds: int | None
) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert responses.retry_after_s(httpx.Response(503, headers=encoded)) == seconds


async def test_floats_in_any_order_and_of_any_length_become_rows_of_length_1() -> None:
    data = [{"index": 1, "embedding": [0.0, 3.0]}, {"index": 0, "embedding": [0.5, 0.0]}]
    client = GpuClient(
        "http://foreign",
        "key",
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json={"data": data})),
    )
    rows = await client.embed(["a", "b"])
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, [[1, 0], [0, 1]])


@pytest.mark.parametrize(
    "rows",
    [[], [[1.0, 0.0]], [[1.0], [0.0]], [[1.0, 0.0], [1.0]], [["x"], [1.0]], [[1e300], [1.0]]],
)
async def test_vectors_that_make_no_sense_are_a_dependency_that_is_down(
    rows: list[list[float]],
) -> None:
    response = httpx.Response(200, json={"data": [{"embedding": row} for row in rows]})
    with pytest.raises(DependencyDown, match="not understood"):
        responses.vectors(response, 2)
