from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.up import logfile
from barnabee.up.logfile import LineSplitter, LogFile

NOW = "2026-11-23T08:00:00Z"


@pytest.mark.parametrize(
    ("line", "level", "event"),
    [
        ("12:M 23 Nov 2026 07:38:00.123 * Ready to accept connections", "info", "Ready to acc"),
        ("12:M 23 Nov 2026 07:38:00.123 # WARNING Memory overcommit", "warning", "WARNING Mem"),
        ("2026/11/23 07:43:35 NOTICE: Starting s3 server", "info", "Starting s3"),
        ("2026/11/23 07:43:35 ERROR : it broke", "error", "it broke"),
        ("2026-11-23 07:43:35.001 WARNING (MainThread) [ha] slow", "warning", "(MainThread)"),
        ('time=2026-11-23T07:43:35Z level=WARN msg="sync failed" db=x', "warning", "sync failed"),
        ('{"time":"t","level":"ERROR","msg":"no bucket","db":"x"}', "error", "no bucket"),
        ('{"event": "ready", "level": "info", "timestamp": "t"}', "info", "ready"),
        ("Traceback (most recent call last):", "error", "Traceback"),
        ("ValueError: no", "error", "ValueError"),
        ("{not json", "info", "{not json"),
        ("[1, 2]", "info", "[1, 2]"),
        ("just words", "info", "just words"),
    ],
)
def test_lines_of_all_programs_get_level_and_event(line: str, level: str, event: str) -> None:
    found = logfile.make_record("redis", line, NOW)
    assert (found["component"], found["level"]) == ("redis", level)
    assert str(found["event"]).startswith(event)


def test_our_fields_are_kept_and_missing_ones_are_null() -> None:
    line = (
        '{"event":"request","component":"other","trace_id":"abc","latency_ms":2.5,"level":"info"}'
    )
    found = logfile.make_record("api", line, NOW)
    assert found == {
        "component": "api",
        "level": "info",
        "event": "request",
        "timestamp": NOW,
        "trace_id": "abc",
        "session_id": None,
        "user_id": None,
        "stage": None,
        "latency_ms": 2.5,
    }


@given(st.text())
def test_any_text_becomes_a_valid_record(line: str) -> None:
    found = logfile.make_record("api", line, NOW)
    assert found["level"] in logfile.KNOWN_LEVELS
    json.dumps(found)


@given(st.lists(st.binary(max_size=20)))
def test_lines_are_complete_for_any_chunking(chunks: list[bytes]) -> None:
    lines = LineSplitter()
    pieces = [line for chunk in chunks for line in lines.feed(chunk)] + list(lines.flush())
    whole = b"".join(chunks).split(b"\n")
    expected = [text for line in whole if (text := line.decode("utf-8", "replace").rstrip())]
    assert pieces == expected


def test_an_endless_line_is_split() -> None:
    lines = LineSplitter()
    for _ in range(10):
        assert all(len(line) <= logfile.LINE_MAX_CHARS for line in lines.feed(b"x" * 20_000))
    assert len(lines._rest) <= logfile.LINE_MAX_CHARS


def test_a_full_file_is_rotated_and_the_oldest_deleted(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "barnabee.jsonl"
    log = LogFile(path, size_max_bytes=40)
    for number in range(30):
        log.write({"number": number, "padding": "x" * 30})
    log.close()
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["barnabee.jsonl", *(f"barnabee.jsonl.{n}" for n in range(1, 6))]
    assert json.loads(path.read_text())["number"] == 29
    assert json.loads(logfile.rotated_path(path, 1).read_text())["number"] == 28


def test_a_restart_appends_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "barnabee.jsonl"
    for number in range(2):
        log = LogFile(path)
        log.write({"number": number})
        log.close()
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [0, 1]


def test_a_full_disk_drops_the_record_without_an_error() -> None:
    log = LogFile(Path("/dev/full"))
    log.write({"event": "lost"})
    log.write({"event": "lost too"})
