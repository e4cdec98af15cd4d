"""The built dashboard, served as it was read at the start: a few small files, nothing else.

The headers come with the build (`headers.json`), so that this and nginx send the same.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
from dataclasses import dataclass
from pathlib import Path

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HEADERS = "headers.json"
INDEX = "index.html"
CACHE_IMMUTABLE = "public, max-age=31536000, immutable"  # a name that has the content's hash in it
MIN_GZIP_BYTES = 600  # not worth packing
MAX_FILE_BYTES = 4 * 1024 * 1024
_NOT_MODIFIED = 304

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, as it is and packed."""

    body: bytes
    packed: bytes | None
    media_type: str
    etag: str
    cache: str


class DashboardFiles:
    """The files below a folder, by the path they have in an address."""

    def __init__(self, files: dict[str, StaticFile], headers: dict[str, str]) -> None:
        """Serve `files`, each with `headers`."""
        self._files = files
        self._headers = headers

    @property
    def paths(self) -> frozenset[str]:
        """Return what is there for everybody: the page has nothing to hide before it asks."""
        return frozenset(self._files)

    def routes(self) -> list[Route]:
        """Return a route for each file."""
        return [Route(path, self._answer, methods=["GET"]) for path in sorted(self._files)]

    async def _answer(self, request: Request) -> Response:
        file = self._files[request.url.path]
        headers = {
            **self._headers,
            "Cache-Control": file.cache,
            "ETag": file.etag,
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=_NOT_MODIFIED, headers=headers)
        body = file.body
        if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["Content-Encoding"] = file.packed, "gzip"
        return Response(body, media_type=file.media_type, headers=headers)


def read_dashboard(folder: Path | None) -> DashboardFiles | None:
    """Return the dashboard in `folder`; None, and a line in the log, when there is none."""
    if folder is None:
        return None
    try:
        headers = {
            str(name): str(value)
            for name, value in json.loads((folder / HEADERS).read_text(encoding="utf-8")).items()
        }
        files = {
            f"/{path.relative_to(folder).as_posix()}": _file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != HEADERS and path.stat().st_size < MAX_FILE_BYTES
        }
        files["/"] = files.pop(f"/{INDEX}")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        log.warning("no_dashboard", code="not_found", reason=f"{folder}: {error!r}")
        return None
    return DashboardFiles(files, headers)


def _file(path: Path) -> StaticFile:
    body = path.read_bytes()
    packed = gzip.compress(body, 9, mtime=0) if len(body) > MIN_GZIP_BYTES else b""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if path.suffix == ".webmanifest":
        kind = "application/manifest+json"
    return StaticFile(
        body,
        packed if packed and len(packed) < len(body) else None,
        kind,
        f'"{hashlib.sha256(body).hexdigest()[:24]}"',
        CACHE_IMMUTABLE if path.parent.name == "assets" else "no-cache",
    )
