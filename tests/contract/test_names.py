"""Names, sizes and words: the measures of CONTRIBUTING.md, "Names", over the whole source tree."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src/barnabee").rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
Function = ast.FunctionDef | ast.AsyncFunctionDef

MAX_FILES = 352  # raise it with a new service or process, not with a fragment
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES, P90_FUNCTION_LINES = 50, 20
MAX_DUPLICATE_CLASSES = 10
MAX_ONE_WORD_SHARE = 0.30
MAX_TEST_NAME_CHARS = 70

# Words that a reader of the field has to translate, and how often each may stand in the tree.
GPU_WORD = r"(?<!graphics )cards?"  # on the page a card is a card
PRIVATE_WORDS = {
    r"house": 30,  # the family's building
    r"mouth|ears?|doors?": 0,
    r"whoever|somebody|nobody|anybody|everybody": 0,
    r"mend|mends|mended|mending": 0,
    r"wishes|told": 0,
    r"goes on|comes back|leans on|is let in|looks after": 0,
    GPU_WORD: 12,  # the JSON field `card` of GET /v1/vram
    r"stand-by": 0,
}
TEXTS = {
    "src": (".py", ".ts", ".tsx", ".css", ".html", ".toml"),
    "nixos": (".nix", ".yml", ".yaml", ".toml", ".sh", ".alloy"),
    "docs": (".md",),
    "hosts": (".nix",),
    "pkgs": (".nix", ".py"),
    "scripts": (".py", ".sh"),
    ".github": (".md", ".yml"),
}
# Sentences that people say to the assistant or hear from it.
SENTENCES = {
    *("intents.toml", "home.toml", "home_sentences.toml", "home_targets.py"),
    *("home_answers.py", "home_plan.py", "home_registry.py"),
    *("words.py", "schedule_phrases.py", "note_subjects.py"),
    *("sentences.md", "broadcast.py"),
}
# Old names that work for one release, and files of a deployment that keep their name.
ALIASES = {"renamed.py", "renamed-keys.nix", "renamed-options.nix"}
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "system.toml", "flake.nix", "barnabee")


def functions() -> Iterator[tuple[Path, Function]]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield path, node


def texts() -> Iterator[tuple[Path, str]]:
    for folder, suffixes in TEXTS.items():
        for path in sorted((ROOT / folder).rglob("*")):
            is_text = path.suffix in suffixes and path.name not in SENTENCES | ALIASES | {
                "conversation.md"
            }
            if is_text and not {"node_modules", "dist", "skills"} & set(path.parts):
                yield path, path.read_text(encoding="utf-8")
    for name in PAGES:
        yield ROOT / name, (ROOT / name).read_text(encoding="utf-8")


def test_source_has_few_files() -> None:
    files = [path for path in (ROOT / "src/barnabee").rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix != ".pyc"]) <= MAX_FILES


def test_files_and_functions_stay_short() -> None:
    long_files = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_FILE_LINES
    }
    assert long_files == {}
    lengths = sorted((node.end_lineno or 0) - node.lineno + 1 for _, node in functions())
    assert lengths[-1] <= MAX_FUNCTION_LINES
    assert lengths[len(lengths) * 9 // 10] <= P90_FUNCTION_LINES


def test_class_names_are_unique() -> None:
    modules = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(str(path.relative_to(ROOT / "src/barnabee")))
    twice = {name: places for name, places in modules.items() if len(places) > 1}
    assert len(twice) <= MAX_DUPLICATE_CLASSES, twice


def test_functions_are_verbs_with_objects() -> None:
    """One bare word is for names that read as one phrase with their module, like `wav.decode`."""
    names = [
        node.name
        for tree in TREES.values()
        for node in tree.body
        if isinstance(node, Function) and not node.name.startswith("_")
    ]
    share = sum("_" not in name for name in names) / len(names)
    assert share <= MAX_ONE_WORD_SHARE


@pytest.mark.parametrize(("words", "limit"), PRIVATE_WORDS.items())
def test_texts_use_the_words_of_the_field(words: str, limit: int) -> None:
    pattern = re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    found = Counter(
        {
            path: len(pattern.findall(text))
            for path, text in texts()
            if words != GPU_WORD or "dashboard" not in path.parts
        }
    )
    places = {str(path.relative_to(ROOT)): count for path, count in found.most_common() if count}
    assert sum(places.values()) <= limit, places


def test_names_of_tests_stay_readable() -> None:
    long_names = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, Function)
        and node.name.startswith("test_")
        and len(node.name) > MAX_TEST_NAME_CHARS
    ]
    assert long_names == []


def test_environment_variables_are_read_in_settings_alone() -> None:
    """Elsewhere `os.environ` is only copied into the environment of a child process."""
    reads = re.compile(r"os\.environ(?:\.get\(|\.setdefault\(|\[)|os\.getenv\(")
    readers = {
        str(path.relative_to(ROOT / "src/barnabee"))
        for path in SOURCES
        if reads.search(path.read_text(encoding="utf-8"))
    }
    assert readers == {"core/settings.py"}
