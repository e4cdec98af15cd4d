"""Files of the built dashboard and their headers."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from barnabee.api import static_files

HEADERS = {"Content-Security-Policy": "default-src 'none'"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<p>" + "page " * 400, encoding="utf-8")
    (tmp_path / "assets" / "index-abc.js").write_text("let a;" * 400, encoding="utf-8")
    (tmp_path / "manifest.webmanifest").write_text("{}", encoding="utf-8")
    (tmp_path / "headers.json").write_text(json.dumps(HEADERS), encoding="utf-8")
    return tmp_path


def client(folder: Path) -> httpx.AsyncClient:
    files = static_files.read_dashboard(folder)
    assert files is not None
    transport = httpx.ASGITransport(Starlette(routes=files.make_routes()))
    return httpx.AsyncClient(transport=transport, base_url="http://api")


async def test_files_have_type_headers_and_cache_control(folder: Path) -> None:
    async with client(folder) as browser:
        page = await browser.get("/")
        script = await browser.get("/assets/index-abc.js")
        manifest = await browser.get("/manifest.webmanifest")
        for path in ("/headers.json", "/index.html", "/../etc/passwd", "/assets/", "/assets/other"):
            assert (await browser.get(path)).status_code == 404, path
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"] == "default-src 'none'"
    assert page.headers["content-encoding"] == "gzip"
    assert page.headers["cache-control"] == "no-cache"
    assert "javascript" in script.headers["content-type"]
    assert "immutable" in script.headers["cache-control"]
    assert manifest.headers["content-type"] == "application/manifest+json"


async def test_matching_etag_returns_not_modified(folder: Path) -> None:
    async with client(folder) as browser:
        etag = (await browser.get("/")).headers["etag"]
        again = await browser.get("/", headers={"If-None-Match": etag})
        plain = await browser.get("/", headers={"Accept-Encoding": "identity"})
    assert (again.status_code, again.content) == (304, b"")
    assert "content-encoding" not in plain.headers
    assert plain.text.startswith("<p>page")


@pytest.mark.parametrize("missing", ["index.html", "headers.json"])
def test_incomplete_build_is_ignored(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    assert static_files.read_dashboard(folder) is None
    assert static_files.read_dashboard(folder / "nowhere") is None
    assert static_files.read_dashboard(None) is None
