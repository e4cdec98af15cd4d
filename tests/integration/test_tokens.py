"""Tokens on running services: scopes, rotation and revocation without a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from barnabee.clients.service_client import ServiceClient
from barnabee.core.auth import COOKIE_NAME
from barnabee.core.files import WatchedFile
from barnabee.core.tokens import TOKENS_FILE, Scope, TokenStore
from support import fake_engines as fakes
from support.api import TOKEN, ApiProcess
from support.asgi_server import serve_app
from support.dashboard_api import SAME_ORIGIN, log_in
from support.redis import RedisServer
from support.voice import VoiceProcess
from support.wait import eventually
from support.webrtc_browser import open_browser

pytestmark = pytest.mark.asyncio(loop_scope="module")  # all tests share the processes
COMMAND = {"utterance": "what time is it"}


class Services:
    """An api and a voice service whose token files are copies of one store."""

    def __init__(self, folder: Path, api: ApiProcess, voice: VoiceProcess) -> None:
        self.folder, self.api, self.voice = folder, api, voice

    @property
    def store(self) -> TokenStore:
        token = (self.folder / "secrets" / "api_token").read_text(encoding="utf-8")
        return TokenStore(self.folder / "secrets", token, self.folder / "run")

    def own_token(self, scope: Scope) -> str:
        return (self.folder / "secrets" / scope.credential).read_text(encoding="utf-8")

    async def command(self, token: str) -> int:
        async with self.api.client(headers={"Authorization": f"Bearer {token}"}) as client:
            return (await client.post("/v1/command", json=COMMAND)).status_code

    async def wait_until_refused(self, token: str) -> None:
        async def refused() -> bool:
            return await self.command(token) in {401, 429}

        await eventually(refused)


def _prepare(folder: Path, service: str, *scopes: Scope) -> None:
    """Make the files that the runner copies for a service."""
    copies = folder / "run" / service
    copies.mkdir(parents=True)
    for name in (TOKENS_FILE, *(scope.credential for scope in scopes)):
        (copies / name).touch()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "secrets").mkdir()
    (folder / "secrets" / "api_token").write_text(TOKEN, encoding="utf-8")
    _prepare(folder, "api", *Scope)
    _prepare(folder, "voice", Scope.TALK, Scope.INFER)
    TokenStore(folder / "secrets", TOKEN, folder / "run").refresh()
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    redis.start()
    async with serve_app(fakes.make_gpu_app()) as engines:
        api = ApiProcess(folder / "api", redis.url)
        voice = VoiceProcess(folder / "voice", engines, api.url)
        voice.environment = {"BARNABEE_TOKENS": str(folder / "run" / "voice")}
        api.environment = {
            "GPU_SERVICE_URL": engines,
            "VOICE_URL": voice.url,
            "BARNABEE_TOKENS": str(folder / "run" / "api"),
        }
        api.start()
        await voice.start()
        await api.wait_until_unhealthy()
        yield Services(folder, api, voice)
        voice.stop()
        api.kill()
    redis.stop()


async def test_a_named_token_commands_until_it_is_revoked(services: Services) -> None:
    token = services.store.add("kitchen-satellite", Scope.TALK)

    async def accepted() -> bool:
        return await services.command(token) == 200

    await eventually(accepted)
    headers = {"Authorization": f"Bearer {token}"}
    async with services.api.client(headers=headers) as satellite:
        refused = await satellite.get("/v1/turns")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert (await satellite.post("/api/login", json={"token": token})).status_code == 403
    services.store.revoke("kitchen-satellite")
    begun_s = time.monotonic()
    await services.wait_until_refused(token)
    print(f"refused after {time.monotonic() - begun_s:.2f} s")
    clients = {record.get("client") for record in services.api.read_log("request")}
    assert "token:kitchen-satellite" in clients
    assert token not in services.api.log


async def test_revoking_a_browser_ends_its_event_stream(services: Services) -> None:
    async with log_in(services.api, services.own_token(Scope.ADMIN)) as browser:
        own_id = (await browser.get("/api/session")).json()["id"]
        async with browser.stream("GET", "/api/events") as stream:
            lines = stream.aiter_lines()
            assert (await anext(lines)).startswith("event: ")
            async with services.api.client() as admin:
                revoked = await admin.delete(f"/api/browsers/{own_id}")
                assert revoked.status_code == 204
                after = [line async for line in lines]  # ends, or the test does not
                assert not [line for line in after if line.startswith("event: turn")]


async def test_revoking_a_token_ends_its_websocket(services: Services) -> None:
    token = services.store.add("hall", Scope.TALK)
    url = f"{services.voice.url.replace('http', 'ws')}/v1/talk?room=hall"

    async def ended() -> bool:
        try:
            async with connect(
                url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None
            ) as socket:
                services.store.revoke("hall")
                await socket.wait_closed()  # or the test does not end
                return True
        except InvalidStatus as error:
            raise AssertionError(error.response.status_code) from error

    await eventually(ended)


async def test_revocation_ends_conversations_over_webrtc(services: Services) -> None:
    """Of a client with a token at the voice service, and of a browser through the api."""
    token = services.store.add("attic", Scope.TALK)
    admin = services.own_token(Scope.ADMIN)

    async def list_rooms() -> set[str]:
        async with httpx.AsyncClient(trust_env=False) as client:
            headers = {"Authorization": f"Bearer {admin}"}
            body = (await client.get(f"{services.voice.url}/v1/rooms", headers=headers)).json()
        return {room["room"] for room in body["rooms"]}

    async def expect_rooms(*names: str) -> bool:
        return await list_rooms() == set(names)

    async with log_in(services.api, admin) as client, AsyncExitStack() as stack:
        own_id = (await client.get("/api/session")).json()["id"]
        cookie = {"Cookie": f"{COOKIE_NAME}={client.cookies[COOKIE_NAME]}", **SAME_ORIGIN}
        page = open_browser(services.api.url, room="page", path="/api/talk/offer", headers=cookie)
        await eventually(lambda: _is_accepted(services, token))
        satellite = open_browser(services.voice.url, room="attic", token=token)
        for browser in (page, satellite):
            await stack.enter_async_context(browser)
        await eventually(lambda: expect_rooms("page", "attic"))
        services.store.revoke("attic")
        await eventually(lambda: expect_rooms("page"))
        assert (await client.delete(f"/api/browsers/{own_id}")).status_code == 204
        await eventually(expect_rooms)


async def _is_accepted(services: Services, token: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        headers = {"Authorization": f"Bearer {token}"}
        return (await client.get(f"{services.voice.url}/v1/rooms", headers=headers)).is_success


async def test_rotation_refuses_the_old_token_and_fails_no_request(services: Services) -> None:
    pids = [services.api.process.pid, services.voice.process.pid]  # type: ignore[union-attr]
    old = services.own_token(Scope.TALK)
    client = ServiceClient(
        "api", services.api.url, lambda: file.read() or "", transport=httpx.AsyncHTTPTransport()
    )
    file = WatchedFile(services.folder / "run" / "voice" / Scope.TALK.credential)
    statuses: list[int] = []
    done = asyncio.Event()

    async def send_commands() -> None:
        while not done.is_set():
            response = await client.request("POST", "/v1/command", limit_s=30, json=COMMAND)
            statuses.append(response.status_code)
            await asyncio.sleep(0.02)  # below the limit of commands

    sending = asyncio.create_task(send_commands())
    try:
        services.store.rotate(Scope.TALK)
        assert services.own_token(Scope.TALK) != old
        await services.wait_until_refused(old)
    finally:
        done.set()
        await sending
        await client.aclose()
    assert set(statuses) == {200}
    assert await services.command(services.own_token(Scope.TALK)) == 200
    for process, pid in zip((services.api.process, services.voice.process), pids, strict=True):
        assert process is not None
        assert (process.poll(), process.pid) == (None, pid)


async def test_wrong_tokens_are_limited_but_the_right_one_is_not(services: Services) -> None:
    for url in (services.api.url + "/v1/turns", services.voice.url + "/v1/rooms"):
        async with httpx.AsyncClient(trust_env=False) as client:
            wrong = {"Authorization": "Bearer wrong"}
            responses = [await client.get(url, headers=wrong) for _ in range(40)]
            assert responses[-1].status_code == 429, url
            assert int(responses[-1].headers["retry-after"]) >= 1
            assert (await client.get(url)).status_code == 401  # without a token: no guess
            right = {"Authorization": f"Bearer {services.own_token(Scope.ADMIN)}"}
            assert (await client.get(url, headers=right)).status_code == 200


async def test_health_tells_strangers_no_more_than_states(services: Services) -> None:
    for url in (services.api.url, services.voice.url):
        async with httpx.AsyncClient(trust_env=False) as client:
            anonymous = (await client.get(f"{url}/health")).json()
            assert set(anonymous) == {"status", "service", "dependencies"}
            for dependency in anonymous["dependencies"].values():
                assert set(dependency) == {"status", "code"}
            headers = {"Authorization": f"Bearer {services.own_token(Scope.METRICS)}"}
            known = (await client.get(f"{url}/health", headers=headers)).json()
            assert "version" in known
            assert all("message" in one for one in known["dependencies"].values())


async def test_a_new_admin_token_logs_browsers_out(services: Services) -> None:
    old = services.own_token(Scope.ADMIN)
    async with log_in(services.api, old) as browser:
        assert browser.cookies[COOKIE_NAME]
        async with browser.stream("GET", "/api/events") as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            services.store.rotate(Scope.ADMIN)
            async for _line in lines:  # ends, or the test does not
                pass
        assert (await browser.get("/api/session")).status_code == 401
    await services.wait_until_refused(old)
    new = {"Authorization": f"Bearer {services.own_token(Scope.ADMIN)}"}
    async with services.api.client(headers=new | SAME_ORIGIN) as admin:
        assert (await admin.get("/api/browsers")).json() == []
        spoken = await admin.post("/v1/command", json=COMMAND)
        assert spoken.status_code == 200
