"""Authentication: tokens, session cookies, login links and the CSRF check."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.auth import (
    ACTING_FOR_HEADER,
    COOKIE_LIFETIME_S,
    COOKIE_NAME,
    LINK_LIFETIME_S,
    Authenticator,
    Client,
    OpenStreams,
    find_session_cookie,
    is_cross_site,
)
from barnabee.core.errors import LinkInvalid
from barnabee.core.tokens import Scope, TokenEntry, TokenTable, hash_token

NOW = 1_800_000_000.0
BROWSER = "0123456789abcdef"
TOKEN = "the-token"
AUTHENTICATOR = Authenticator(TOKEN, lambda browser_id: browser_id == BROWSER)


def test_the_token_authenticates() -> None:
    client = AUTHENTICATOR.identify_client(f"Bearer {TOKEN}", None, NOW)
    assert client == Client("token:admin", Scope.ADMIN)


@given(st.text())
def test_no_other_header_authenticates(text: str) -> None:
    if text.strip() != TOKEN:
        assert AUTHENTICATOR.identify_client(f"Bearer {text}", None, NOW) is None
    assert AUTHENTICATOR.identify_client(text, text, NOW) is None


def test_a_cookie_authenticates_until_it_expires() -> None:
    cookie = f"{COOKIE_NAME}={AUTHENTICATOR.make_cookie(BROWSER, NOW)}"
    client = AUTHENTICATOR.identify_client(None, cookie, NOW + COOKIE_LIFETIME_S - 1)
    assert client == Client(f"browser:{BROWSER}", Scope.ADMIN)
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
    without_sessions = Authenticator(TOKEN)
    assert without_sessions.identify_client(None, cookie, NOW) is None
    assert without_sessions.identify_client(f"Bearer {TOKEN}", cookie, NOW) is not None


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


# ---- the session cookie -------------------------------------------------------------------------

OCTETS = st.text(st.sampled_from("!#$%&'()*+-./0123456789:<=>?@ABCXYZ[]^_`abcxyz{|}~"), max_size=12)
NAMES = st.sampled_from([COOKIE_NAME, "a", "x-barnabee_session", "barnabee_session2", "theme"])


@given(st.lists(st.tuples(NAMES, OCTETS), max_size=6))
def test_a_well_formed_header_is_read_as_the_standard_library_does(
    cookies: list[tuple[str, str]],
) -> None:
    header = "; ".join(f"{name}={value}" for name, value in cookies)
    morsel = SimpleCookie(header).get(COOKIE_NAME)
    assert find_session_cookie(header) == (morsel.value if morsel else None)


def test_a_quoted_cookie_authenticates() -> None:
    cookie = f'a=b; {COOKIE_NAME}="{AUTHENTICATOR.make_cookie(BROWSER, NOW)}"; c="d"'
    assert AUTHENTICATOR.read_cookie(cookie, NOW) == BROWSER


EVIL = [
    f'{COOKIE_NAME}="' + r"\a" * 8000 + '"',
    f'{COOKIE_NAME}="' + r"\061" * 4000 + '"',
    "; " * 8000,
    f"{COOKIE_NAME}=; " * 800,
    f"{COOKIE_NAME}=" + " " * 16_000 + "x",
    ";" + " " * 16_000,
    f";{COOKIE_NAME}" + " " * 16_000,
    '"' * 16_000,
    "a" * 16_000,
]


@pytest.mark.parametrize("header", EVIL, ids=range(len(EVIL)))
def test_reading_a_cookie_takes_time_in_proportion_to_its_length(header: str) -> None:
    """CPU time, so that a busy machine does not matter; the old parser took seconds."""
    whole = header[: 16 * 1024]
    assert AUTHENTICATOR.read_cookie(whole, NOW) is None
    assert measure_cpu_s(lambda: AUTHENTICATOR.read_cookie(whole, NOW)) < 0.001


def measure_cpu_s(work: Callable[[], object]) -> float:
    """Return the smallest of several runs."""
    durations = []
    for _ in range(20):
        begun = time.thread_time()
        work()
        durations.append(time.thread_time() - begun)
    return min(durations)


def test_a_header_over_the_limit_is_not_read() -> None:
    valid = f"{COOKIE_NAME}={AUTHENTICATOR.make_cookie(BROWSER, NOW)}"
    assert AUTHENTICATOR.read_cookie(f"{valid}; a={'x' * 1024 * 1024}", NOW) is None


@given(st.text(st.sampled_from("0123456789abcdef."), max_size=120))
def test_a_value_of_another_shape_costs_no_signature(value: str) -> None:
    reads = 0

    def read_key() -> str:
        nonlocal reads
        reads += 1
        return TOKEN

    authenticator = Authenticator(read_key)
    reads = 0
    assert authenticator.read_cookie(f"{COOKIE_NAME}={value}", NOW) is None
    assert reads == 0


# ---- open streams -------------------------------------------------------------------------------


async def test_a_stream_ends_when_its_client_is_revoked_and_others_stay_open() -> None:
    streams, ended = OpenStreams(), asyncio.Event()
    is_allowed = True
    others: list[str] = []
    streams.hold(lambda: is_allowed, ended.set)
    release = streams.hold(lambda: True, lambda: others.append("ended"))
    is_allowed = False
    await ended.wait()
    assert others == []
    release()


def test_a_service_acts_for_its_client_and_nobody_else_can() -> None:
    for name, acting_for in (("talk", "browser:1"), ("kitchen", "")):
        table = TokenTable(fixed=[TokenEntry(name, Scope.TALK, hash_token(TOKEN))])
        headers = {b"authorization": f"Bearer {TOKEN}", ACTING_FOR_HEADER: "browser:1"}
        client = Authenticator(table=table).identify(headers, NOW)
        assert client is not None
        assert client.acting_for == acting_for


def test_an_empty_token_opens_nothing() -> None:
    assert Authenticator("").identify_client("Bearer ", None, NOW) is None
