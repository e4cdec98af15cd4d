"""Structured logs: format, fields, level and privacy."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from barnabee.core import logging as barnabee_logging
from barnabee.core import tracing

FIELDS = {
    "component", "level", "event", "timestamp", "trace_id", "session_id", "user_id", "stage",
    "latency_ms",
}  # fmt: skip


@pytest.fixture(autouse=True)
def restore_logging() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.split("\n") if line]


def test_our_lines_and_library_lines_have_the_same_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    barnabee_logging.configure_logging("api")
    trace_id = tracing.adopt_trace_id(None)
    structlog.get_logger().info("processing_command", stage="intent", latency_ms=3.2)
    logging.getLogger("uvicorn.error").warning("port %s", 8000)
    own, library = lines(capsys)
    assert own.keys() >= FIELDS
    assert library.keys() >= FIELDS
    assert (own["component"], own["trace_id"], own["stage"]) == ("api", trace_id, "intent")
    assert (library["event"], library["level"], library["trace_id"]) == (
        "port 8000",
        "warning",
        trace_id,
    )


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    barnabee_logging.configure_logging("api", level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_an_event_with_line_breaks_is_written_as_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    barnabee_logging.configure_logging("api")
    structlog.get_logger().info("odd", text='a\nb"c\u2028', path=object())
    assert len(lines(capsys)) == 1


def test_an_utterance_is_only_written_when_allowed() -> None:
    private = barnabee_logging.make_utterance_fields("the door code is 1234", allowed=False)
    assert private["utterance_chars"] == 21
    assert "1234" not in str(private)
    assert barnabee_logging.make_utterance_fields("hi", allowed=True) == {"utterance": "hi"}
