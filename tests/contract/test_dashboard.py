"""The dashboard repeats nothing: its types are the api's, its figures and phrases system.toml's."""

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
GRAPH = tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))


def sources() -> list[Path]:
    left_out = {"node_modules", "dist"}
    files = [*DASHBOARD.rglob("*.ts"), *DASHBOARD.rglob("*.tsx")]
    return [one for one in files if not left_out & set(one.parts) and "test" not in one.name]


def phrases(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from phrases(one)


def test_the_types_are_those_of_the_api() -> None:
    script = ROOT / "scripts" / "api_types.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_port_and_no_phrase_of_the_graph_stands_in_the_page() -> None:
    ports = {str(one["port"]) for one in GRAPH["service"].values() if "port" in one}
    spoken = {*phrases(GRAPH["filler"]), *phrases(GRAPH["trouble"]), *GRAPH["wake"]["words"]}
    spoken |= {one["summary"] for one in GRAPH["service"].values()}
    assert ports
    assert len(spoken) > 10
    for file in sources():
        text = file.read_text(encoding="utf-8")
        found = {one for one in ports if re.search(rf"\b{one}\b", text)}
        found |= {one for one in spoken if len(one) > 4 and one in text}
        assert not found, f"{file.relative_to(ROOT)} repeats {found}"


def test_every_component_has_a_folder_with_its_style_and_its_test() -> None:
    folders = sorted(one for one in (DASHBOARD / "components").iterdir() if one.is_dir())
    assert len(folders) > 10
    for folder in folders:
        files = {one.name for one in folder.iterdir()}
        assert {"index.tsx", "style.css", "test.tsx"} <= files, folder.name


def test_every_package_is_pinned_by_hash() -> None:
    lock = json.loads((DASHBOARD / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert len(packages) > 20
    assert [name for name, one in packages.items() if "sha512-" not in one["integrity"]] == []


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline() -> None:
    headers = json.loads((DASHBOARD / "headers.json").read_text(encoding="utf-8"))
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "default-src 'none'" in policy
    index = (DASHBOARD / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", index) == []
    assert re.findall(r"\bstyle=|\bon[a-z]+=", index) == []
    for file in [*sources(), *DASHBOARD.glob("*.html"), *(DASHBOARD / "public").glob("*.js")]:
        text = file.read_text(encoding="utf-8")
        assert "dangerouslySetInnerHTML" not in text, file.name
        assert re.findall(r"https?://(?!www\.w3\.org)", text) == [], file.name
