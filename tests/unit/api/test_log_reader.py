from __future__ import annotations

import json
from pathlib import Path

from barnabee.api.log_reader import MAX_RECORDS, read_trace_records

TRACE, OTHER = "a" * 32, "b" * 32


def make_line(trace_id: str, event: str) -> str:
    return json.dumps({"trace_id": trace_id, "component": "api", "event": event}) + "\n"


def test_records_are_read_from_rotated_files_oldest_first(tmp_path: Path) -> None:
    log = tmp_path / "barnabee.jsonl"
    (tmp_path / "barnabee.jsonl.2").write_text(make_line(TRACE, "first") + make_line(OTHER, "no"))
    (tmp_path / "barnabee.jsonl.1").write_text(make_line(TRACE, "second"))
    log.write_text(
        make_line(TRACE, "third")
        + make_line(OTHER, TRACE)
        + f"not json {TRACE}\n"
        + '{"half": "'
        + TRACE
    )
    assert [one["event"] for one in read_trace_records(log, TRACE)] == ["first", "second", "third"]


def test_missing_log_is_empty_and_a_long_one_is_cut(tmp_path: Path) -> None:
    log = tmp_path / "barnabee.jsonl"
    assert read_trace_records(log, TRACE) == []
    log.write_text(make_line(TRACE, "x") * (MAX_RECORDS + 5))
    assert len(read_trace_records(log, TRACE)) == MAX_RECORDS
