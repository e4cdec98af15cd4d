"""The error tree: messages, codes and HTTP bodies."""

from __future__ import annotations

import string
from collections.abc import Iterator

import pytest

from barnabee.core import errors


def tree(root: type[errors.BarnabeeError]) -> Iterator[type[errors.BarnabeeError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


EVERY = [kind for kind in tree(errors.BarnabeeError) if kind.__module__.startswith(errors.__name__)]


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_the_message_is_the_docstring_with_its_fields(kind: type[errors.BarnabeeError]) -> None:
    names = {name for _, name, _, _ in string.Formatter().parse(kind.__doc__ or "") if name}
    message = str(kind(**{name: f"<{name}>" for name in names}))
    assert all(f"<{name}>" in message for name in names)
    assert "\n" not in message


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_tree_of_the_module_docstring(
    kind: type[errors.BarnabeeError],
) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in EVERY]
    assert sorted(set(codes)) == sorted(codes)


def test_the_body_has_code_message_and_trace_id() -> None:
    body = errors.TooLarge(field="file", limit="1 MiB").body("abc")
    assert body == {
        "code": "too_large",
        "message": "The file is larger than the limit of 1 MiB.",
        "trace_id": "abc",
    }


def test_a_long_message_is_shortened_in_the_body() -> None:
    error = errors.NotFound(what="model " + "a" * 100_000)
    message = error.body("abc")["message"]
    assert len(message) < 1000
    assert message.startswith("There is no model aaa")
    assert message.endswith("a.")
