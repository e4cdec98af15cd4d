"""The look through the suite's logs finds what it is for, and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.private import breaches, logs

TOKEN = "Zx81-made-up-for-this-test"


@pytest.fixture
def house() -> Iterator[Path]:
    """Yield a house with a secret, a turn and a log, out of the suite's way."""
    with TemporaryDirectory() as directory:
        yield _made(Path(directory))


def _made(base: Path) -> Path:
    for folder in ("home/secrets", "home/logs", "home/data"):
        (base / folder).mkdir(parents=True)
    (base / "home/secrets/api_token").write_text(TOKEN + "\n")
    with sqlite3.connect(base / "home/data/barnabee.db") as database:
        database.execute("CREATE TABLE turns (utterance, reply)")
        database.execute("INSERT INTO turns VALUES ('the key is beneath the mat', 'I see.')")
    return base


def wrote(base: Path, line: str, name: str = "barnabee.jsonl") -> list[str]:
    (base / "home/logs" / name).write_text(line + "\n")
    return [one.what for one in breaches(base)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"event": "request", "utterance_chars": 26}', []),
        ('{"event": "I see."}', []),  # too short to be anybody's
        (f'{{"reason": "token {TOKEN} refused"}}', ["the secret api_token"]),
        ('{"text": "the key is beneath the mat"}', ["an utterance"]),
        ('{"text": "turn on the kitchen light"}', ["a spoken sentence"]),
        ('{"headers": "Bearer abcdefghijklmnopqrst"}', ["a bearer token"]),
        ('{"token": "eyJhbGciOiJIUzI1NiIsInR5cCI6.eyJpc3M"}', ["a signed token"]),
        ('{"url": "http://127.0.0.1:8000/login?key=abc123"}', ["a login link"]),
    ],
)
def test_what_must_not_stand_in_a_log_is_found(house: Path, line: str, expected: list[str]) -> None:
    assert wrote(house, line) == expected


@pytest.mark.parametrize("name", ["barnabee.jsonl.5", "runner.err", "worker.log"])
def test_every_kind_of_log_is_read(house: Path, name: str) -> None:
    assert wrote(house, TOKEN, name) == ["the secret api_token"]


def test_a_breach_does_not_repeat_what_it_found(house: Path) -> None:
    wrote(house, TOKEN)
    assert TOKEN not in str(breaches(house))


def test_other_makers_logs_are_not_ours(house: Path) -> None:
    assert wrote(house, TOKEN, "qryn.log") == []
    assert [path.name for path in logs(house)] == []


@pytest.mark.timeout(30)  # one by one it would be minutes
def test_a_storm_s_sentences_are_looked_for_all_at_once(house: Path) -> None:
    with sqlite3.connect(house / "home/data/barnabee.db") as database:
        turns = [(f"{number:06} bottles on the wall", "One less.") for number in range(100_000)]
        database.executemany("INSERT INTO turns VALUES (?, ?)", turns)
    line = '{"event": "request", "latency_ms": 12.5, "trace_id": "0123456789abcdef"}\n'
    assert wrote(house, line * 50_000) == []
    assert wrote(house, line * 50_000 + "099999 bottles on the wall") == ["an utterance"]
