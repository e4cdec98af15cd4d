"""Routes of the dashboard on a real api: login, cookies, links and signalling."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from barnabee.core.auth import COOKIE_NAME, Authenticator
from support.api import TOKEN, ApiProcess
from support.dashboard_api import ANSWER, SAME_ORIGIN, log_in, run_dashboard_api
from support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")  # all tests share one process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiProcess]:
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    redis.start()
    async with run_dashboard_api(
        tmp_path_factory.mktemp("api"), redis.url, logins_per_minute=1000
    ) as running:
        yield running
    redis.stop()


async def test_login_by_token_sets_an_httponly_cookie(api: ApiProcess) -> None:
    async with api.client(headers=SAME_ORIGIN) as client:
        assert (await client.get("/api/session")).status_code == 401
        response = await client.post("/api/login", json={"token": TOKEN})
        cookie = response.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "secure" not in cookie  # plain HTTP
        assert (await client.get("/api/session")).json()["this"] is True
        forged = {"X-Forwarded-Proto": "https", **SAME_ORIGIN}  # no proxy is trusted
        again = await client.post("/api/login", json={"token": TOKEN}, headers=forged)
        assert "secure" not in again.headers["set-cookie"].lower()


async def test_logout_invalidates_the_cookie_on_the_server(api: ApiProcess) -> None:
    async with log_in(api) as client:
        stolen = client.cookies[COOKIE_NAME]
        assert (await client.post("/api/logout")).status_code == 204
        assert COOKIE_NAME not in client.cookies
    async with api.client(headers=SAME_ORIGIN) as thief:
        thief.cookies.set(COOKIE_NAME, stolen)
        assert (await thief.get("/api/system")).status_code == 401


async def test_expired_cookie_is_refused(api: ApiProcess) -> None:
    async with log_in(api) as client:
        known = (await client.get("/api/session")).json()["id"]
    old = Authenticator(TOKEN).make_cookie(known, time.time() - 31 * 86_400)
    async with api.client(headers=SAME_ORIGIN) as late:
        late.cookies.set(COOKIE_NAME, old)
        assert (await late.get("/api/session")).status_code == 401


SITES = [
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Origin": "http://elsewhere.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Sec-Fetch-Site": "same-origin"}, 200),
    ({}, 200),
]


async def test_cross_site_requests_are_refused(api: ApiProcess) -> None:
    async with log_in(api) as client:
        cookies = dict(client.cookies)
    async with api.client(headers={}, cookies=cookies) as client:
        for headers, status in SITES:
            body = {"utterance": "what time is it"}
            answer = await client.post("/v1/command", json=body, headers=headers)
            assert answer.status_code == status, headers
        forged = await client.post(
            "/api/login", json={"token": TOKEN}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert (forged.status_code, forged.json()["code"]) == (403, "cross_site")


async def test_login_link_created_by_a_browser_is_valid_once(api: ApiProcess) -> None:
    page = {"Accept": "text/html", "Sec-Fetch-Site": "none"}
    async with log_in(api) as tablet, api.client(headers=page) as phone:
        created = await tablet.post("/api/links")
        assert created.status_code == 201
        first = await phone.get(created.json()["path"])
        assert (first.status_code, first.headers["location"]) == (303, "./")
        assert (await phone.get("/api/session")).status_code == 200
        again = await phone.get(created.json()["path"])
        assert again.headers["location"] == "./?refused=link_used"


async def test_offers_are_forwarded_with_the_api_token(api: ApiProcess) -> None:
    async with log_in(api) as client:
        offer = {"sdp": "v=0", "type": "offer", "room": "page-1"}
        assert (await client.post("/api/talk/offer", json=offer)).json() == ANSWER
        refused = await client.post("/api/talk/offer", json=offer | {"sdp": "nonsense"})
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")
        candidates = {"pc_id": "pc-1", "candidates": []}
        assert (await client.patch("/api/talk/offer", json=candidates)).status_code == 204
    async with api.client(headers=SAME_ORIGIN) as stranger:
        assert (await stranger.post("/api/talk/offer", json=offer)).status_code == 401


async def test_gpu_service_without_a_ledger_is_an_error(api: ApiProcess) -> None:
    async with log_in(api) as client:
        answer = await client.get("/api/gpu")
        assert answer.status_code in {404, 503}
        assert answer.json()["code"] in {"not_found", "dependency_down"}
        assert (await client.post("/api/gpu/models/..%2Fx/load")).status_code in {400, 404}
