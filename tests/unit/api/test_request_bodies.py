from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.api.request_bodies import CommandRequest, check_utterance, parse
from barnabee.core.errors import BadInput, BadRequest, InvalidUtterance, TooLarge


def test_a_command_is_read() -> None:
    body = b'{"utterance": "turn on the light", "session_id": "s-1", "speaker": "Emma"}'
    expected = CommandRequest(utterance="turn on the light", session_id="s-1", speaker="Emma")
    assert parse(body, max_chars=100) == expected


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (b"", BadRequest, "must be JSON"),
        (b"turn on the light", BadRequest, "must be JSON"),
        (b'{"utterance": "x"', BadRequest, "must be JSON"),
        (b'{"utterance": "\xff\xfe"}', BadRequest, "must be JSON"),
        (b'{"utterance": "\\ud800"}', BadRequest, "must be JSON"),
        (b"\xff", BadRequest, "must be JSON"),
        (b"[]", BadRequest, "body"),
        (b"null", BadRequest, "body"),
        (b"{}", InvalidUtterance, "is missing"),
        (b'{"utterance": null}', InvalidUtterance, "must be text"),
        (b'{"utterance": 7}', InvalidUtterance, "must be text"),
        (b'{"utterance": ""}', InvalidUtterance, "has no words"),
        (b'{"utterance": "  \\n "}', InvalidUtterance, "has no words"),
        (b'{"utterance": "?!"}', InvalidUtterance, "has no words"),
        (b'{"utterance": "a\\u0000b"}', InvalidUtterance, "U\\+0000"),
        (b'{"utterance": "a\\u001bb"}', InvalidUtterance, "U\\+001B"),
        (b'{"utterance": "a\\u0085b"}', InvalidUtterance, "U\\+0085"),
        (b'{"utterance": "hi", "sesion_id": "x"}', BadRequest, "sesion_id"),
        (b'{"utterance": "hi", "session_id": "a b"}', BadRequest, "session_id"),
        (b'{"utterance": "hi", "session_id": ""}', BadRequest, "session_id"),
        (b'{"utterance": "hi", "session_id": "' + b"x" * 65 + b'"}', BadRequest, "session_id"),
        (b'{"utterance": "hi", "speaker": ""}', BadRequest, "speaker"),
        (b'{"utterance": "hi", "speaker": "a\\nb"}', BadRequest, "speaker"),
    ],
)
def test_what_cannot_be_a_command_is_refused_by_name(
    body: bytes, error: type[BadInput], says: str
) -> None:
    with pytest.raises(error, match=says):
        parse(body, max_chars=100)


def test_the_limit_counts_characters() -> None:
    assert parse(json.dumps({"utterance": "é" * 100}).encode(), max_chars=100)
    with pytest.raises(TooLarge, match="100 characters"):
        parse(json.dumps({"utterance": "é" * 101}).encode(), max_chars=100)


@pytest.mark.parametrize("text", ["a\tb", "two\nlines", "emoji 😀 ok", "日本語", "zero\u200bwidth"])
def test_other_scripts_and_white_space_may_be_said(text: str) -> None:
    check_utterance(text, max_chars=100)


@given(st.binary(max_size=200))
def test_no_body_does_anything_but_parse_or_fail_by_name(body: bytes) -> None:
    with suppress(BadInput):
        assert parse(body, max_chars=50).utterance


@given(st.text(max_size=60))
def test_whatever_passes_can_be_stored_and_sent(text: str) -> None:
    try:
        check_utterance(text, max_chars=50)
    except BadInput:
        return
    assert text.encode()
    assert "\0" not in text
    assert len(text) <= 50
