"""Objects in a real S3 server, answers of other servers, and conditional writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from barnabee.clients.s3 import OBJECT_MAX_BYTES, S3Bucket
from barnabee.core.errors import DependencyDown
from support.s3 import S3Server
from support.wait import LAST_RESORT_S, find_free_port, wait_until

if TYPE_CHECKING:
    from obstore import PutMode

BUCKET = "barnabee-backups"
ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>{}</Message></Error>"
DATE = "Last-Modified: Sat, 31 Jan 2026 12:00:00 GMT\r\n"


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    server = S3Server(tmp_path / "s3", BUCKET)
    server.start()
    yield server
    server.kill()


def open_bucket(
    url: str, *, name: str = BUCKET, key: str = "test-secret", limit_s: float = LAST_RESORT_S
) -> S3Bucket:
    return S3Bucket(url, "us", name, ("test-key", key), limit_s=limit_s)


@asynccontextmanager
async def answering(
    answer: str | None, limit_s: float = LAST_RESORT_S
) -> AsyncIterator[tuple[S3Bucket, list[str]]]:
    """A bucket whose server sends `answer` (None: nothing) to each request, and the requests."""
    requests: list[str] = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        if answer is None:
            await reader.read()
        else:
            writer.write(answer.encode())
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield open_bucket(f"http://127.0.0.1:{port}", limit_s=limit_s), requests


def http(status: str, body: str, length: int = 0) -> str:
    return f"HTTP/1.1 {status}\r\n{DATE}Content-Length: {length or len(body)}\r\n\r\n{body}"


async def test_a_written_object_is_read_back_and_a_missing_one_is_none(s3: S3Server) -> None:
    bucket = open_bucket(s3.url)
    assert await bucket.get("a/b c+.json") is None
    for number in range(5):
        await bucket.put("a/b c+.json", str(number).encode())
        assert await bucket.get("a/b c+.json") == str(number).encode()


async def test_errors_name_the_code_and_the_sentence_of_the_server(s3: S3Server) -> None:
    with pytest.raises(DependencyDown, match="403 Forbidden: SignatureDoesNotMatch The request"):
        await open_bucket(s3.url, key="wrong").put("a", b"")
    other = open_bucket(s3.url, name="other")
    for request in (other.get("a"), other.put("a", b"")):
        with pytest.raises(DependencyDown, match="404 Not Found: NoSuchBucket The specified"):
            await request
    s3.kill()
    with pytest.raises(DependencyDown, match="error sending request: Connection refused"):
        await open_bucket(s3.url).get("a")


ANSWERS = {
    "rate limit": (
        http("503 Slow", ERROR.format("SlowDown", "Wait.")),
        "status 503 Service Unavailable: SlowDown Wait",
    ),
    "too many requests": (
        http("429 No", ERROR.format("TooManyRequests", "Wait.")),
        "status 429 Too Many Requests: TooManyRequests Wait",
    ),
    "clock skew": (
        http("403 No", ERROR.format("RequestTimeTooSkewed", "Check the clock.")),
        "status 403 Forbidden: RequestTimeTooSkewed Check the clock",
    ),
    "no sentence": (http("500 No", ""), "status 500 Internal Server Error"),
    "body cut short": (http("200 OK", "abc", 50), "response body error: IncompleteBody"),
    "too large": (http("200 OK", "", OBJECT_MAX_BYTES + 1), "a has 65537 bytes"),
    "closed": ("", r"error sending request: \w"),
    "silent": (None, "error sending request: TimedOut"),
}


@pytest.mark.parametrize(("answer", "reason"), ANSWERS.values(), ids=ANSWERS)
async def test_a_failed_request_is_sent_once(answer: str | None, reason: str) -> None:
    async with answering(answer, LAST_RESORT_S if answer is not None else 0.5) as given:
        bucket, requests = given
        with pytest.raises(DependencyDown, match=reason):
            await bucket.get("a")
        assert len(requests) == 1
        if "200 OK" not in (answer or ""):
            with pytest.raises(DependencyDown, match=reason):
                await bucket.put("a", b"")
            assert len(requests) == 2


async def test_an_unknown_host_name_is_named() -> None:
    with pytest.raises(DependencyDown, match="failed to lookup address information"):
        await open_bucket("http://s3.invalid").get("a")


async def test_a_cancelled_request_ends_at_once() -> None:
    async with answering(None) as (bucket, requests):
        task = asyncio.create_task(bucket.get("a"))
        await wait_until(lambda: bool(requests))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_aws_variables_change_neither_the_server_nor_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{find_free_port()}")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    async with answering(http("200 OK", "x")) as (bucket, requests):
        assert await bucket.get("a") == b"x"
    assert requests[0].startswith(f"GET /{BUCKET}/a HTTP/1.1")
    assert "Credential=test-key/" in requests[0]
    assert "another" not in requests[0]


async def test_the_server_ignores_conditions_so_the_lease_cannot_use_them(s3: S3Server) -> None:
    """If this fails the server supports conditions: update docs/reference/standby.md."""
    bucket = open_bucket(s3.url)
    conditions: tuple[PutMode, ...] = ("create", {"e_tag": '"unknown"'})
    for condition in conditions:
        await bucket.put("lease", b"first")
        await bucket._store.put_async("lease", b"second", mode=condition)
        assert await bucket.get("lease") == b"second"
