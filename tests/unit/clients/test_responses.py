"""Errors, embeddings and Retry-After of the inference service, as its clients see them."""

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
from barnabee.core.http import add_error_handlers


def error_classes(root: type[BarnabeeError]) -> Iterator[type[BarnabeeError]]:
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


ALL_ERRORS = [
    kind for kind in error_classes(BarnabeeError) if kind.__module__.startswith(errors.__name__)
]
# All other errors are DependencyDown.
REQUEST_ERRORS = {errors.BadRequest, errors.InvalidAudio, errors.InvalidUtterance, errors.TooLarge}
BUSY_ERRORS = {errors.Overloaded, errors.QueueFull, errors.RateLimited}
# A new error class must be listed here or above.
DOWN_ERRORS = {
    *(errors.BarnabeeError, errors.Misconfigured, errors.Unavailable),
    *(errors.Unauthorized, errors.LinkInvalid, errors.NotFound, errors.ModelInUse),
    *(errors.SystemFileInvalid, errors.SettingMissing, errors.SettingInvalid),
    *(errors.ModelMissing, errors.ModelDamaged, errors.PortTaken, errors.AlreadyRunning),
    *(errors.DependencyDown, errors.StillLoading, errors.TimedOut, errors.NotRunning),
    *(errors.HomeRefused, errors.LlmFailed),
    *(
        errors.VramTooLarge,
        errors.VramNotEvictable,
        errors.VramUsedByOthers,
        errors.VramNotReleased,
    ),
    *(errors.VramExhausted, errors.EngineStuck, errors.SetupFailed, errors.StateUnknown),
    *(errors.DatabaseCorrupt, errors.DatabaseReadOnly, errors.DatabaseFull),
    *(errors.DatabaseTooNew, errors.DatabaseMismatch),
    *(errors.BackupUnreachable, errors.BackupDamaged, errors.BackupFailed),
    *(errors.ProbeFailed, errors.AlertNotDelivered, errors.LeaseNotHeld, errors.CrossSiteRequest),
    *(errors.MicrophoneReplaced, errors.AudioTooFast),  # only sent to browsers
    errors.Forbidden,
}


def make_error(kind: type[BarnabeeError], retry_after_s: int | None = None) -> BarnabeeError:
    names = {name for _, name, _, _ in string.Formatter().parse(kind.__doc__ or "") if name}
    return kind(retry_after_s=retry_after_s, **{name: f"<{name}>" for name in names})


def respond(error: BarnabeeError) -> httpx.Response:
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    return httpx.Response(error.status, json=error.body("t"), headers=headers)


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.code)
def test_every_service_error_maps_to_a_client_error(
    kind: type[BarnabeeError],
) -> None:
    error = make_error(kind, 7)
    found = responses.parse_error(respond(error))
    if kind in REQUEST_ERRORS:
        assert type(found) is BadInput
        assert (found.code, found.status, str(found)) == (kind.code, kind.status, str(error))
    elif kind in BUSY_ERRORS:
        assert type(found) is Overloaded
        assert (found.retry_after_s, str(found)) == (7, "gpu is busy: try again in a moment.")
    elif kind is errors.BadInput:
        assert type(found) is BadInput
    else:
        assert kind in DOWN_ERRORS, (
            f"{kind.__name__}: is it an error of the request, of a busy or of a failed service?"
        )
        assert type(found) is DependencyDown
        assert found.retry_after_s == 7
        assert str(error) in str(found)


def test_retry_after_is_forwarded_through_another_service() -> None:
    refused = responses.parse_error(respond(make_error(errors.QueueFull, 2)))
    assert refused is not None

    async def route(_request: Request) -> Response:
        raise refused

    async def ask() -> httpx.Response:
        app = Starlette(routes=[Route("/", route)])
        add_error_handlers(app)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.get("/")

    import asyncio  # noqa: PLC0415 - one use

    response = asyncio.run(ask())
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json()["code"] == "overloaded"


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
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
def test_foreign_errors_are_parsed(
    status: int, body: object, kind: type[BarnabeeError], message: str
) -> None:
    found = responses.parse_error(httpx.Response(status, json=body))
    assert type(found) is kind
    assert message in str(found)
    assert found.code in {kind.code for kind in ALL_ERRORS}


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
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: int | None) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert responses.parse_retry_after_s(httpx.Response(503, headers=encoded)) == seconds


async def test_foreign_embeddings_are_sorted_and_normalised() -> None:
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
async def test_invalid_embeddings_are_dependency_down(
    rows: list[list[float]],
) -> None:
    response = httpx.Response(200, json={"data": [{"embedding": row} for row in rows]})
    with pytest.raises(DependencyDown, match="invalid response"):
        responses.parse_vectors(response, 2)
