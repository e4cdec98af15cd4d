"""Every line is one JSON object with every field of the specification."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from barnabee.core import logging as barnabee_logging
from barnabee.core import trace_context

FIELDS = {
    "component", "level", "event", "timestamp", "trace_id", "session_id", "user_id", "stage",
    "latency_ms",
}  # fmt: skip


@pytest.fixture(autouse=True)
def restored() -> object:
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
    barnabee_logging.configure("api")
    trace_id = trace_context.adopt(None)
    structlog.get_logger().info("processing_command", stage="intent", latency_ms=3.2)
    logging.getLogger("uvicorn.error").warning("port %s", 8000)
    ours, theirs = lines(capsys)
    assert ours.keys() >= FIELDS
    assert theirs.keys() >= FIELDS
    assert (ours["component"], ours["trace_id"], ours["stage"]) == ("api", trace_id, "intent")
    assert (theirs["event"], theirs["level"], theirs["trace_id"]) == (
        "port 8000",
        "warning",
        trace_id,
    )


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    barnabee_logging.configure("api", level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_a_line_stays_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    barnabee_logging.configure("api")
    structlog.get_logger().info("odd", text='a\nb"c\u2028', path=object())
    assert len(lines(capsys)) == 1


def test_an_utterance_is_only_written_when_allowed() -> None:
    private = barnabee_logging.utterance_fields("the door code is 1234", allowed=False)
    assert private["utterance_chars"] == 21
    assert "1234" not in str(private)
    assert barnabee_logging.utterance_fields("hi", allowed=True) == {"utterance": "hi"}
