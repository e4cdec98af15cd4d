"""Minimal S3 client for small objects in the replica's bucket.

Signs requests itself (AWS Signature Version 4), because two operations do not justify an SDK. A
write is never retried: the lease relies on that (standby/lease.py).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import httpx

from barnabee.core.errors import DependencyDown

OBJECT_MAX_BYTES = 64 * 1024
_NOT_FOUND = 404


class S3Bucket:
    """One bucket of an S3 server with path-style URLs."""

    def __init__(
        self, endpoint: str, region: str, name: str, keys: tuple[str, str], *, limit_s: float
    ) -> None:
        """`keys` are id and secret; `limit_s` limits each request."""
        self._base = f"{endpoint.rstrip('/')}/{quote(name)}"
        self._region = region
        self._keys = keys
        # No keep-alive: a request on a connection that the server has closed would need a retry.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(timeout=limit_s, limits=limits, trust_env=True)
        self._limit_s = limit_s

    async def get(self, key: str) -> bytes | None:
        """Return an object's content, or None when it does not exist."""
        response = await self._send("GET", key, b"")
        return None if response.status_code == _NOT_FOUND else self._check(response).content

    async def put(self, key: str, content: bytes) -> None:
        """Write an object; it is stored when this returns."""
        self._check(await self._send("PUT", key, content))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _send(self, method: str, key: str, content: bytes) -> httpx.Response:
        url = httpx.URL(f"{self._base}/{quote(key)}")
        headers = sign_request(
            method, url, content, self._keys, region=self._region, now=datetime.now(UTC)
        )
        try:
            return await self._client.request(
                method, url, content=content or None, headers=dict(headers)
            )
        except httpx.HTTPError as error:
            reason = str(error) or f"no response within {self._limit_s:g} s"
            raise DependencyDown(dependency="replica", reason=reason) from error

    @staticmethod
    def _check(response: httpx.Response) -> httpx.Response:
        if response.is_success and len(response.content) <= OBJECT_MAX_BYTES:
            return response
        reason = f"status {response.status_code}: {' '.join(response.text.split())[:200]}"
        raise DependencyDown(dependency="replica", reason=reason)


def sign_request(
    method: str,
    url: httpx.URL,
    content: bytes,
    keys: tuple[str, str],
    *,
    region: str,
    now: datetime,
) -> Mapping[str, str]:
    """Return the headers that sign a request without a query string. Pure."""
    moment = f"{now:%Y%m%dT%H%M%SZ}"
    digest = hashlib.sha256(content).hexdigest()
    headers = {
        "host": url.netloc.decode(),
        "x-amz-content-sha256": digest,
        "x-amz-date": moment,
    }
    names = ";".join(headers)  # already in alphabetical order
    lines = [f"{name}:{value}" for name, value in headers.items()]
    request = "\n".join([method, url.raw_path.decode(), "", *lines, "", names, digest])
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = "\n".join(
        ["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()]
    )
    key = b"AWS4" + keys[1].encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    who = f"AWS4-HMAC-SHA256 Credential={keys[0]}/{scope}"
    return {**headers, "authorization": f"{who}, SignedHeaders={names}, Signature={key.hex()}"}
