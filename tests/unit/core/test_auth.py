"""Tokens, one-time links and cookies: only what the house signed is let in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.auth import COOKIE, COOKIE_AGE_S, LINK_AGE_S, Access, cross_site
from barnabee.core.errors import LinkUsed

NOW = 1_800_000_000.0
BROWSER = "0123456789abcdef"
HOUSE = Access("the-token-of-this-house", lambda browser: browser == BROWSER)


def test_the_token_is_let_in() -> None:
    assert HOUSE.client("Bearer the-token-of-this-house", None, NOW) == "token"


@given(st.text())
def test_no_other_header_is_let_in(text: str) -> None:
    if text.strip() != HOUSE.token:
        assert HOUSE.client(f"Bearer {text}", None, NOW) is None
    assert HOUSE.client(text, text, NOW) is None


def test_a_cookie_is_let_in_until_it_is_too_old() -> None:
    cookie = f"{COOKIE}={HOUSE.make_cookie(BROWSER, NOW)}"
    client = HOUSE.client(None, cookie, NOW + COOKIE_AGE_S - 1)
    assert client == f"browser:{BROWSER}"
    assert HOUSE.client(None, cookie, NOW + COOKIE_AGE_S + 1) is None


def test_a_cookie_of_another_house_is_refused() -> None:
    assert HOUSE.client(None, f"{COOKIE}={Access('other').make_cookie(BROWSER, NOW)}", NOW) is None


def test_a_link_key_is_not_a_cookie() -> None:
    assert HOUSE.client(None, f"{COOKIE}={HOUSE.make_link_key(NOW)}", NOW) is None


def test_a_browser_that_was_shown_out_is_refused_though_its_cookie_is_good() -> None:
    cookie = f"{COOKIE}={HOUSE.make_cookie('fedcba9876543210', NOW)}"
    assert HOUSE.browser(cookie, NOW) == "fedcba9876543210"
    assert HOUSE.client(None, cookie, NOW) is None


def test_a_service_that_knows_no_browsers_takes_the_token_alone() -> None:
    cookie = f"{COOKIE}={HOUSE.make_cookie(BROWSER, NOW)}"
    assert Access(HOUSE.token).client(None, cookie, NOW) is None
    assert Access(HOUSE.token).client(f"Bearer {HOUSE.token}", cookie, NOW) == "token"


SITES = [
    ({b"sec-fetch-site": "same-origin"}, False),
    ({b"sec-fetch-site": "none"}, False),
    ({b"sec-fetch-site": "cross-site"}, True),
    ({b"sec-fetch-site": "same-site", b"origin": "http://house:8123", b"host": "house"}, True),
    ({b"origin": "http://house:8000", b"host": "house:8000"}, False),
    ({b"origin": "http://house:8123", b"host": "house:8000"}, True),
    ({b"origin": "null", b"host": "house:8000"}, True),
    ({b"host": "house:8000"}, False),
]


@pytest.mark.parametrize(("headers", "another"), SITES)
def test_what_another_site_s_page_asks_for_is_seen(
    headers: dict[bytes, str], another: bool
) -> None:
    assert cross_site(headers) is another


def test_a_link_key_opens_until_it_is_too_old() -> None:
    key = HOUSE.make_link_key(NOW)
    assert HOUSE.open_link_key(key, NOW) == HOUSE.open_link_key(key, NOW + LINK_AGE_S - 1)
    with pytest.raises(LinkUsed):
        HOUSE.open_link_key(key, NOW + LINK_AGE_S + 1)


@given(st.text())
def test_a_made_up_link_key_is_refused(key: str) -> None:
    with pytest.raises(LinkUsed):
        HOUSE.open_link_key(key, NOW)
