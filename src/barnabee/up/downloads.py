"""Downloads files by their address: resumed where they broke off, kept only with the pinned hash.

Knows no model. What is not whole yet stays in its folder, so that the next run goes on with it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from barnabee.core import manifest
from barnabee.core.errors import DependencyDown, ModelDamaged
from barnabee.core.manifest import Entry

TRIES = 5  # without a single new byte; a line that breaks often but brings something goes on
PAUSE_S = 1.0
READ_LIMIT_S = 30.0


def client() -> httpx.AsyncClient:
    """Return a client for downloads; proxies and certificates are those of the environment."""
    return httpx.AsyncClient(
        follow_redirects=True,
        timeout=httpx.Timeout(READ_LIMIT_S),
        headers={"Accept-Encoding": "identity"},  # bytes as they are, or ranges would not fit
    )


async def fetch(
    http: httpx.AsyncClient, url: str, entry: Entry, target: Path, *, pause_s: float = PAUSE_S
) -> None:
    """Make `target` the file that `entry` says, out of `url` and what is there already.

    Raises DependencyDown when it cannot be had (what came is kept), ModelDamaged when it is another
    file than the pinned one (what came is deleted).
    """
    fruitless = 0
    while (have := _size(target)) != entry.size:
        try:
            await _go_on(http, url, entry.size, target)
        except (httpx.TransportError, _Broken) as error:
            fruitless = 0 if _size(target) > have else fruitless + 1
            if fruitless >= TRIES:
                reason = f"{url}: {error or type(error).__name__}"
                raise DependencyDown(dependency=httpx.URL(url).host, reason=reason) from error
            await asyncio.sleep(pause_s)
    try:
        await asyncio.to_thread(manifest.check, target, entry)
    except ModelDamaged as error:
        _forget(target)
        raise ModelDamaged(path=target, reason=f"{url} is not what was pinned") from error


class _Broken(Exception):
    """The answer ended early, or the server is in trouble; worth another try."""


async def _go_on(http: httpx.AsyncClient, url: str, size: int, target: Path) -> None:
    have = _size(target)
    headers = {"Range": f"bytes={have}-"} if have else {}
    async with http.stream("GET", url, headers=headers) as response:
        if response.is_server_error:
            message = f"HTTP {response.status_code}"
            raise _Broken(message)
        if response.is_error:
            _forget(target)  # also a part that is longer than the file (416)
            reason = f"HTTP {response.status_code} for {url}"
            raise DependencyDown(dependency=httpx.URL(url).host, reason=reason)
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        have = have if resumed else 0
        with target.open("ab" if resumed else "wb") as file:
            async for chunk in response.aiter_raw():
                have += len(chunk)
                if have > size:
                    file.truncate(0)
                    raise ModelDamaged(path=target, reason=f"{url} is longer than {size} bytes")
                file.write(chunk)
    if have < size:
        message = f"it ended after {have} of {size} bytes"
        raise _Broken(message)


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
