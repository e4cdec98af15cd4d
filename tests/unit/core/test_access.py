"""Tokens, one-time links and cookies: only what the house signed is let in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.access import COOKIE, COOKIE_AGE_S, LINK_AGE_S, Access
from barnabee.core.errors import LinkUsed

NOW = 1_800_000_000.0
HOUSE = Access("the-token-of-this-house")


def test_the_token_is_let_in() -> None:
    assert HOUSE.client("Bearer the-token-of-this-house", None, NOW) == "token"


@given(st.text())
def test_no_other_header_is_let_in(text: str) -> None:
    if text.strip() != HOUSE.token:
        assert HOUSE.client(f"Bearer {text}", None, NOW) is None
    assert HOUSE.client(text, text, NOW) is None


def test_a_cookie_is_let_in_until_it_is_too_old() -> None:
    cookie = f"{COOKIE}={HOUSE.make_cookie(NOW)}"
    client = HOUSE.client(None, cookie, NOW + COOKIE_AGE_S - 1)
    assert client is not None
    assert client.startswith("browser:")
    assert HOUSE.client(None, cookie, NOW + COOKIE_AGE_S + 1) is None


def test_a_cookie_of_another_house_is_refused() -> None:
    assert HOUSE.client(None, f"{COOKIE}={Access('other').make_cookie(NOW)}", NOW) is None


def test_a_link_key_is_not_a_cookie() -> None:
    assert HOUSE.client(None, f"{COOKIE}={HOUSE.make_link_key(NOW)}", NOW) is None


def test_a_link_key_opens_until_it_is_too_old() -> None:
    key = HOUSE.make_link_key(NOW)
    assert HOUSE.open_link_key(key, NOW) == HOUSE.open_link_key(key, NOW + LINK_AGE_S - 1)
    with pytest.raises(LinkUsed):
        HOUSE.open_link_key(key, NOW + LINK_AGE_S + 1)


@given(st.text())
def test_a_made_up_link_key_is_refused(key: str) -> None:
    with pytest.raises(LinkUsed):
        HOUSE.open_link_key(key, NOW)
