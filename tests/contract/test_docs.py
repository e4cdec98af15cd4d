"""Links of the documentation: every target exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


FLOWS = re.split(r"(?m)^## ", (ROOT / "docs/flow.md").read_text(encoding="utf-8"))[1:]
FLOW_MAX_FILES = 15


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.partition("\n")[0])
def test_a_flow_is_short_and_names_files_that_exist(flow: str) -> None:
    named = set(re.findall(r"`([a-z_]+/[a-z_/]*\.(?:py|toml|nix)|[a-z_]+/[a-z_/]*/)`", flow))
    assert 5 < len(named) <= FLOW_MAX_FILES
    assert "```mermaid" in flow
    places = (ROOT / "src/barnabee", ROOT)
    assert not [name for name in named if not any((top / name).exists() for top in places)]


def test_the_glossary_stays_short() -> None:
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    assert len(re.findall(r"(?m)^\| ", text)) - 1 <= 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_every_defence_of_the_threat_model_names_a_test_that_exists() -> None:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    defences = text.partition("## Defences")[2].partition("## Not defended")[0]
    rows = [row for row in re.findall(r"(?m)^\| .*$", defences) if not row.startswith("| threat")]
    assert len(rows) > 30
    for row in rows:
        tests = re.findall(r"`([\w/]+\.py)?::(test_\w+)`", row)
        assert tests, row
        file = ""
        for name, test in tests:
            file = name or file
            assert f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), row
