"""Forwarded headers count only when the peer is a trusted proxy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import settings, system
from barnabee.core.errors import SettingInvalid
from barnabee.core.trusted_proxies import PREFIX_KEY, PREFIX_MAX_CHARS, trust_proxies

PROXY, CLIENT = "10.0.0.2", "192.168.1.30"
FORGED = "203.0.113.9"


async def forward(
    *proxies: str, peer: str = PROXY, path: str = "/api/session", **headers: str
) -> dict[str, Any]:
    """Return the scope that the application sees; `x_forwarded_for` stands for its header."""
    seen: dict[str, Any] = {}

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.update(scope)

    async def send(message: Any) -> None:
        seen.update(message)

    names = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    scope = {
        "type": "http",
        "scheme": "http",
        "path": path,
        "client": (peer, 5000),
        "headers": names,
    }
    await trust_proxies(app, proxies)(scope, None, send)  # type: ignore[arg-type]
    return seen


def get_client(scope: dict[str, Any]) -> str:
    address: str = scope["client"][0]
    return address


async def test_client_and_scheme_come_from_a_trusted_proxy() -> None:
    seen = await forward(PROXY, x_forwarded_for=CLIENT, x_forwarded_proto="https")
    assert (get_client(seen), seen["scheme"]) == (CLIENT, "https")


@pytest.mark.parametrize("proxies", [(), ("10.0.0.3",), ("10.1.0.0/16",)])
async def test_headers_of_other_peers_have_no_effect(proxies: tuple[str, ...]) -> None:
    seen = await forward(
        *proxies, x_forwarded_for=FORGED, x_forwarded_proto="https", x_forwarded_prefix="/barnabee"
    )
    assert (get_client(seen), seen["scheme"]) == (PROXY, "http")
    assert PREFIX_KEY not in seen


async def test_a_client_of_this_machine_is_not_trusted_by_default() -> None:
    seen = await forward(peer="127.0.0.1", x_forwarded_for=FORGED)
    assert get_client(seen) == "127.0.0.1"


async def test_the_rightmost_untrusted_address_is_the_client() -> None:
    chain = f"{FORGED}, {CLIENT}, 10.0.0.3"
    seen = await forward("10.0.0.0/24", x_forwarded_for=chain)
    assert get_client(seen) == CLIENT


@pytest.mark.parametrize("path", ["/barnabee/api/session", "/api/session"])
async def test_the_prefix_is_removed_unless_the_proxy_has_removed_it(path: str) -> None:
    seen = await forward(PROXY, path=path, x_forwarded_prefix="/barnabee/")
    assert (seen["path"], seen[PREFIX_KEY]) == ("/api/session", "/barnabee")


async def test_a_path_that_only_begins_like_the_prefix_is_unchanged() -> None:
    seen = await forward(PROXY, path="/barnabees", x_forwarded_prefix="/barnabee")
    assert seen["path"] == "/barnabees"


async def test_the_prefix_without_a_slash_is_redirected_to_the_page() -> None:
    seen = await forward(PROXY, path="/barnabee", x_forwarded_prefix="/barnabee")
    assert seen["status"] == 308
    assert (b"location", b"/barnabee/") in seen["headers"]


@pytest.mark.parametrize(
    "prefix",
    ["//elsewhere.example", "/a//b", "/../api", "/a;b", "/a b", "x", "/" + "a" * PREFIX_MAX_CHARS],
)
async def test_a_prefix_that_is_no_path_is_ignored(prefix: str) -> None:
    seen = await forward(PROXY, x_forwarded_prefix=prefix)
    assert PREFIX_KEY not in seen


@given(st.text(st.characters(codec="latin-1")), st.text(st.characters(codec="latin-1")))
async def test_no_header_raises(forwarded_for: str, prefix: str) -> None:
    seen = await forward(PROXY, x_forwarded_for=forwarded_for, x_forwarded_prefix=prefix)
    assert seen["path"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("*", "'\\*' does not appear to be an IPv4 or IPv6"),
        ("proxy.lan", "does not appear to be"),
        ("10.0.0.5/24", "has host bits set"),
        ("0.0.0.0/0", "trusts every client"),
        ("10.0.0.1,::/0", "trusts every client"),
    ],
)
def test_an_invalid_list_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    monkeypatch.setenv("BARNABEE_TRUSTED_PROXIES", value)
    with pytest.raises(SettingInvalid, match=f"BARNABEE_TRUSTED_PROXIES is invalid.*{reason}"):
        settings.read_settings(system.load_system())
