"""Authentication: tokens, session cookies, login links and the CSRF check."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.auth import (
    COOKIE_LIFETIME_S,
    COOKIE_NAME,
    LINK_LIFETIME_S,
    Authenticator,
    is_cross_site,
)
from barnabee.core.errors import LinkInvalid

NOW = 1_800_000_000.0
BROWSER = "0123456789abcdef"
AUTHENTICATOR = Authenticator("the-token", lambda browser_id: browser_id == BROWSER)


def test_the_token_authenticates() -> None:
    assert AUTHENTICATOR.identify_client("Bearer the-token", None, NOW) == "token"


@given(st.text())
def test_no_other_header_authenticates(text: str) -> None:
    if text.strip() != AUTHENTICATOR.token:
        assert AUTHENTICATOR.identify_client(f"Bearer {text}", None, NOW) is None
    assert AUTHENTICATOR.identify_client(text, text, NOW) is None


def test_a_cookie_authenticates_until_it_expires() -> None:
    cookie = f"{COOKIE_NAME}={AUTHENTICATOR.make_cookie(BROWSER, NOW)}"
    client = AUTHENTICATOR.identify_client(None, cookie, NOW + COOKIE_LIFETIME_S - 1)
    assert client == f"browser:{BROWSER}"
    assert AUTHENTICATOR.identify_client(None, cookie, NOW + COOKIE_LIFETIME_S + 1) is None


def test_a_cookie_signed_with_another_token_is_refused() -> None:
    assert (
        AUTHENTICATOR.identify_client(
            None, f"{COOKIE_NAME}={Authenticator('other').make_cookie(BROWSER, NOW)}", NOW
        )
        is None
    )


def test_a_link_key_is_not_a_cookie() -> None:
    assert (
        AUTHENTICATOR.identify_client(
            None, f"{COOKIE_NAME}={AUTHENTICATOR.make_link_key(NOW)}", NOW
        )
        is None
    )


def test_a_valid_cookie_of_a_revoked_browser_is_refused() -> None:
    cookie = f"{COOKIE_NAME}={AUTHENTICATOR.make_cookie('fedcba9876543210', NOW)}"
    assert AUTHENTICATOR.read_cookie(cookie, NOW) == "fedcba9876543210"
    assert AUTHENTICATOR.identify_client(None, cookie, NOW) is None


def test_a_service_without_sessions_accepts_only_the_token() -> None:
    cookie = f"{COOKIE_NAME}={AUTHENTICATOR.make_cookie(BROWSER, NOW)}"
    assert Authenticator(AUTHENTICATOR.token).identify_client(None, cookie, NOW) is None
    assert (
        Authenticator(AUTHENTICATOR.token).identify_client(
            f"Bearer {AUTHENTICATOR.token}", cookie, NOW
        )
        == "token"
    )


SITES = [
    ({b"sec-fetch-site": "same-origin"}, False),
    ({b"sec-fetch-site": "none"}, False),
    ({b"sec-fetch-site": "cross-site"}, True),
    (
        {b"sec-fetch-site": "same-site", b"origin": "http://barnabee:8123", b"host": "barnabee"},
        True,
    ),
    ({b"origin": "http://barnabee:8000", b"host": "barnabee:8000"}, False),
    ({b"origin": "http://barnabee:8123", b"host": "barnabee:8000"}, True),
    ({b"origin": "null", b"host": "barnabee:8000"}, True),
    ({b"host": "barnabee:8000"}, False),
]


@pytest.mark.parametrize(("headers", "expected"), SITES)
def test_cross_site_requests_are_detected(headers: dict[bytes, str], *, expected: bool) -> None:
    assert is_cross_site(headers) is expected


def test_a_link_key_is_valid_until_it_expires() -> None:
    key = AUTHENTICATOR.make_link_key(NOW)
    assert AUTHENTICATOR.read_link_key(key, NOW) == AUTHENTICATOR.read_link_key(
        key, NOW + LINK_LIFETIME_S - 1
    )
    with pytest.raises(LinkInvalid):
        AUTHENTICATOR.read_link_key(key, NOW + LINK_LIFETIME_S + 1)


@given(st.text())
def test_a_forged_link_key_is_refused(key: str) -> None:
    with pytest.raises(LinkInvalid):
        AUTHENTICATOR.read_link_key(key, NOW)
