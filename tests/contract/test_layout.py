"""Layout of the tests: slow ones are in their folders, each skip is listed in docs/status.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
STATUS = TESTS.parent / "docs" / "status.md"
HEADING = "## Skipped tests and why"


def walk_calls() -> Iterator[tuple[Path, ast.Call]]:
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path, node


def render(node: ast.expr) -> str:
    """Return the text of a literal, with "…" for each value that is inserted."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.JoinedStr), f"no literal reason: {ast.unparse(node)}"
    parts = (one.value if isinstance(one, ast.Constant) else "…" for one in node.values)
    return "".join(map(str, parts))


def read_reason(call: ast.Call) -> str | None:
    """Return why this call skips a test; None if it skips none."""
    name = ast.unparse(call.func)
    if name in {"needs_program", "require_program"}:
        program, package = map(render, call.args)
        return f"{program} is not installed (Debian: {package})"
    if not re.fullmatch(r"pytest\.(mark\.)?(skip|skipif|importorskip)", name):
        return None
    reasons = [one.value for one in call.keywords if one.arg == "reason"]
    return render(reasons[0] if reasons else call.args[-1])


def test_every_reason_of_a_skip_is_listed() -> None:
    # support/programs.py writes the reasons of `needs_program`
    reasons = {
        reason
        for path, call in walk_calls()
        if path.name != "programs.py" and (reason := read_reason(call))
    }
    table = STATUS.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    listed = set(re.findall(r"(?m)^\| `(.+?)` \|", table))
    assert listed == reasons


def test_slow_tests_are_in_their_folders() -> None:
    """tests/conftest.py marks them by their folder."""
    marked = re.compile(r"mark\.(long|alone|bench)\b")
    outside = [
        path
        for path in sorted(TESTS.rglob("test_*.py"))
        if path.relative_to(TESTS).parts[0] not in {"long", "bench"}
        and marked.search(path.read_text(encoding="utf-8"))
    ]
    assert [path.name for path in outside if path.name != Path(__file__).name] == []
