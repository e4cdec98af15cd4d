"""The privacy scan of the suite's logs: what it finds and what it ignores."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.log_privacy import find_breaches, list_logs

TOKEN = "Zx81-made-up-for-this-test"


@pytest.fixture
def deployment() -> Iterator[Path]:
    """Yield a deployment directory with a secret and a stored turn."""
    with TemporaryDirectory() as directory:
        yield _make_deployment(Path(directory))


def _make_deployment(base: Path) -> Path:
    for folder in ("home/secrets", "home/logs", "home/data"):
        (base / folder).mkdir(parents=True)
    (base / "home/secrets/api_token").write_text(TOKEN + "\n")
    with sqlite3.connect(base / "home/data/barnabee.db") as database:
        database.execute("CREATE TABLE turns (utterance, reply)")
        database.execute("INSERT INTO turns VALUES ('the key is beneath the mat', 'I see.')")
    return base


def scan(base: Path, line: str, name: str = "barnabee.jsonl") -> list[str]:
    """Return what the scan finds in a log with `line`."""
    (base / "home/logs" / name).write_text(line + "\n")
    return [one.what for one in find_breaches(base)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"event": "request", "utterance_chars": 26}', []),
        ('{"event": "I see."}', []),  # too short to be private
        (f'{{"reason": "token {TOKEN} refused"}}', ["the secret api_token"]),
        ('{"text": "the key is beneath the mat"}', ["an utterance"]),
        ('{"text": "turn on the kitchen light"}', ["a spoken sentence"]),
        ('{"headers": "Bearer abcdefghijklmnopqrst"}', ["a bearer token"]),
        ('{"token": "eyJhbGciOiJIUzI1NiIsInR5cCI6.eyJpc3M"}', ["a signed token"]),
        ('{"url": "http://127.0.0.1:8000/login?key=abc123"}', ["a login link"]),
    ],
)
def test_private_data_in_a_log_is_found(deployment: Path, line: str, expected: list[str]) -> None:
    assert scan(deployment, line) == expected


@pytest.mark.parametrize("name", ["barnabee.jsonl.5", "runner.err", "worker.log"])
def test_every_kind_of_log_is_read(deployment: Path, name: str) -> None:
    assert scan(deployment, TOKEN, name) == ["the secret api_token"]


def test_a_breach_does_not_quote_the_secret(deployment: Path) -> None:
    scan(deployment, TOKEN)
    assert TOKEN not in str(find_breaches(deployment))


def test_logs_of_third_party_programs_are_ignored(deployment: Path) -> None:
    assert scan(deployment, TOKEN, "qryn.log") == []
    assert [path.name for path in list_logs(deployment)] == []


def test_many_sentences_are_searched_in_one_pass(deployment: Path) -> None:
    with sqlite3.connect(deployment / "home/data/barnabee.db") as database:
        turns = [(f"{number:06} bottles on the wall", "One less.") for number in range(100_000)]
        database.executemany("INSERT INTO turns VALUES (?, ?)", turns)
    line = '{"event": "request", "latency_ms": 12.5, "trace_id": "0123456789abcdef"}\n'
    assert scan(deployment, line * 50_000) == []
    assert scan(deployment, line * 50_000 + "099999 bottles on the wall") == ["an utterance"]
