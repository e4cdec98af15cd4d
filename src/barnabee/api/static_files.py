"""Static files of the built dashboard, read into memory at start.

The response headers come with the build (`headers.json`), so that the api and nginx send the same.
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
CACHE_IMMUTABLE = "public, max-age=31536000, immutable"  # file names contain the content's hash
MIN_GZIP_BYTES = 600
MAX_FILE_BYTES = 4 * 1024 * 1024
_NOT_MODIFIED = 304

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StaticFile:
    """Content of one file, plain and compressed (None if that is no smaller)."""

    body: bytes
    gzipped: bytes | None
    media_type: str
    etag: str
    cache_control: str


class DashboardFiles:
    """Files of the dashboard by URL path, each served with `headers`."""

    def __init__(self, files: dict[str, StaticFile], headers: dict[str, str]) -> None:
        self._files = files
        self._headers = headers

    @property
    def paths(self) -> frozenset[str]:
        """URL paths of the files, which need no authentication."""
        return frozenset(self._files)

    def make_routes(self) -> list[Route]:
        """Return a route for each file."""
        return [Route(path, self._serve, methods=["GET"]) for path in sorted(self._files)]

    async def _serve(self, request: Request) -> Response:
        file = self._files[request.url.path]
        headers = {
            **self._headers,
            "Cache-Control": file.cache_control,
            "ETag": file.etag,
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=_NOT_MODIFIED, headers=headers)
        body = file.body
        if file.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["Content-Encoding"] = file.gzipped, "gzip"
        return Response(body, media_type=file.media_type, headers=headers)


def read_dashboard(directory: Path | None) -> DashboardFiles | None:
    """Return the files in `directory`; None, with a logged warning, if the build is incomplete."""
    if directory is None:
        return None
    try:
        header_text = (directory / HEADERS).read_text(encoding="utf-8")
        headers = {str(name): str(value) for name, value in json.loads(header_text).items()}
        files = {
            f"/{path.relative_to(directory).as_posix()}": _read_file(path)
            for path in sorted(directory.rglob("*"))
            if path.is_file() and path.name != HEADERS and path.stat().st_size < MAX_FILE_BYTES
        }
        files["/"] = files.pop(f"/{INDEX}")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        log.warning("no_dashboard", code="not_found", reason=f"{directory}: {error!r}")
        return None
    return DashboardFiles(files, headers)


def _read_file(path: Path) -> StaticFile:
    body = path.read_bytes()
    gzipped = gzip.compress(body, 9, mtime=0) if len(body) > MIN_GZIP_BYTES else b""
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if path.suffix == ".webmanifest":
        media_type = "application/manifest+json"
    return StaticFile(
        body,
        gzipped if gzipped and len(gzipped) < len(body) else None,
        media_type,
        f'"{hashlib.sha256(body).hexdigest()[:24]}"',
        CACHE_IMMUTABLE if path.parent.name == "assets" else "no-cache",
    )
