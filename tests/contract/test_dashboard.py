"""Dashboard sources: generated types, no copied configuration, pinned packages, strict policy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "src" / "dashboard"
SYSTEM = tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))


def list_sources() -> list[Path]:
    excluded = {"node_modules", "dist"}
    files = [*DASHBOARD.rglob("*.ts"), *DASHBOARD.rglob("*.tsx")]
    return [one for one in files if not excluded & set(one.parts) and "test" not in one.name]


def list_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from list_strings(one)


def test_types_match_the_openapi_document() -> None:
    script = ROOT / "scripts" / "api_types.py"
    result = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_sources_contain_no_port_or_phrase_of_system_toml() -> None:
    ports = {str(one["port"]) for one in SYSTEM["service"].values() if "port" in one}
    spoken = {
        *list_strings(SYSTEM["filler"]),
        *list_strings(SYSTEM["trouble"]),
        *SYSTEM["wake"]["words"],
    }
    spoken |= {one["summary"] for one in SYSTEM["service"].values()}
    assert ports
    assert len(spoken) > 10
    for file in list_sources():
        text = file.read_text(encoding="utf-8")
        repeated = {one for one in ports if re.search(rf"\b{one}\b", text)}
        repeated |= {one for one in spoken if len(one) > 4 and one in text}
        assert not repeated, f"{file.relative_to(ROOT)} repeats {repeated}"


def test_every_component_has_a_style_and_a_test() -> None:
    folders = sorted(one for one in (DASHBOARD / "components").iterdir() if one.is_dir())
    assert len(folders) > 10
    for folder in folders:
        files = {one.name for one in folder.iterdir()}
        assert {"index.tsx", "style.css", "test.tsx"} <= files, folder.name


def test_packages_are_pinned_by_hash() -> None:
    lock = json.loads((DASHBOARD / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert len(packages) > 20
    assert [name for name, one in packages.items() if "sha512-" not in one["integrity"]] == []


def test_page_loads_no_other_host_and_has_no_inline_code() -> None:
    headers = json.loads((DASHBOARD / "headers.json").read_text(encoding="utf-8"))
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "default-src 'none'" in policy
    index = (DASHBOARD / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", index) == []
    assert re.findall(r"\bstyle=|\bon[a-z]+=", index) == []
    for file in [*list_sources(), *DASHBOARD.glob("*.html"), *(DASHBOARD / "public").glob("*.js")]:
        text = file.read_text(encoding="utf-8")
        assert "dangerouslySetInnerHTML" not in text, file.name
        assert re.findall(r"https?://(?!www\.w3\.org)", text) == [], file.name
