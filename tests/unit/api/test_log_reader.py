from __future__ import annotations

import json
from pathlib import Path

from barnabee.api.log_reader import MAX_RECORDS, read_trace_records

MINE, OTHER = "a" * 32, "b" * 32


def line(trace_id: str, event: str) -> str:
    return json.dumps({"trace_id": trace_id, "component": "api", "event": event}) + "\n"


def test_a_turn_s_lines_are_found_through_rotated_files_oldest_first(tmp_path: Path) -> None:
    log = tmp_path / "barnabee.jsonl"
    (tmp_path / "barnabee.jsonl.2").write_text(line(MINE, "first") + line(OTHER, "no"))
    (tmp_path / "barnabee.jsonl.1").write_text(line(MINE, "second"))
    log.write_text(
        line(MINE, "third") + line(OTHER, MINE) + f"not json {MINE}\n" + '{"half": "' + MINE
    )
    assert [one["event"] for one in read_trace_records(log, MINE)] == ["first", "second", "third"]


def test_no_log_has_no_lines_and_a_long_one_is_cut(tmp_path: Path) -> None:
    log = tmp_path / "barnabee.jsonl"
    assert read_trace_records(log, MINE) == []
    log.write_text(line(MINE, "x") * (MAX_RECORDS + 5))
    assert len(read_trace_records(log, MINE)) == MAX_RECORDS
