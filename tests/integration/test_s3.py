"""Objects in a real S3 server, and its handling of conditional writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from barnabee.clients.s3 import S3Bucket, sign_request
from barnabee.core.errors import DependencyDown
from support.s3 import S3Server

BUCKET = "barnabee-backups"


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    server = S3Server(tmp_path / "s3", BUCKET)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def bucket(s3: S3Server) -> AsyncIterator[S3Bucket]:
    made = S3Bucket(s3.url, "us", BUCKET, (s3.key_id, s3.application_key), limit_s=5)
    yield made
    await made.aclose()


async def test_a_written_object_is_read_back_and_a_missing_one_is_none(
    bucket: S3Bucket,
) -> None:
    assert await bucket.get("a/b c+.json") is None
    for number in range(5):
        await bucket.put("a/b c+.json", str(number).encode())
        assert await bucket.get("a/b c+.json") == str(number).encode()


async def test_a_wrong_key_or_missing_server_raises_dependency_down(
    s3: S3Server, bucket: S3Bucket
) -> None:
    unauthorized = S3Bucket(s3.url, "us", BUCKET, (s3.key_id, "wrong"), limit_s=5)
    with pytest.raises(DependencyDown, match="status 403"):
        await unauthorized.put("a", b"")
    await unauthorized.aclose()
    s3.kill()
    with pytest.raises(DependencyDown):
        await bucket.get("a")


async def test_the_server_ignores_conditions_so_the_lease_cannot_use_them(
    s3: S3Server, bucket: S3Bucket
) -> None:
    """If this fails the server supports conditions: update docs/reference/standby.md."""
    await bucket.put("lease", b"first")
    url = httpx.URL(f"{s3.url}/{BUCKET}/lease")
    keys = (s3.key_id, s3.application_key)
    for condition in ({"if-none-match": "*"}, {"if-match": '"unknown"'}):
        signed = sign_request("PUT", url, b"second", keys, region="us", now=datetime.now(UTC))
        async with httpx.AsyncClient() as client:
            answer = await client.put(url, content=b"second", headers={**signed, **condition})
        assert answer.status_code == 200
        assert await bucket.get("lease") == b"second"
        await bucket.put("lease", b"first")


def test_the_signature_matches_the_published_example() -> None:
    """Example "GET Object" of Amazon's Signature Version 4 documentation, without its range."""
    keys = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    headers = sign_request(
        "GET",
        httpx.URL("https://examplebucket.s3.amazonaws.com/test.txt"),
        b"",
        keys,
        region="us-east-1",
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert headers["x-amz-date"] == "20130524T000000Z"
    assert headers["authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature="
    )
