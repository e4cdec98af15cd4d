"""Dashboard in a real browser through nginx: views, login, failures and voice."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from barnabee.core.auth import COOKIE_NAME, Authenticator
from support.asgi_server import serve_app
from support.dashboard import (
    DESKTOP,
    MEASURE_PEAK_LEVEL,
    PHONE,
    DashboardPage,
    DashboardStack,
    launch_browser,
    make_microphone_options,
    open_dashboard,
    run_dashboard_stack,
    speak_command,
)
from support.redis import RedisServer
from support.voice import TOKEN, load_recording, make_silence

pytestmark = pytest.mark.timeout(600)
VIEWS = ("status", "talk", "turns", "gpu", "backups", "access")


@pytest.fixture
async def stack(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[DashboardStack]:
    async with run_dashboard_stack(tmp_path, redis_server) as running:
        yield running


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    options = make_microphone_options(
        tmp_path / "said.wav", make_silence(1), load_recording("kitchen_light_bm_george")
    )
    async with launch_browser(*options) as running:
        yield running


async def send_command(stack: DashboardStack, utterance: str) -> None:
    async with stack.api.client() as client:
        response = await client.post("/v1/command", json={"utterance": utterance})
        assert response.status_code == 200, response.text


async def check_accessibility(visit: DashboardPage, state: str) -> None:
    """Run axe on the page in both colour schemes."""
    for scheme in ("light", "dark"):
        await visit.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert await visit.find_accessibility_violations() == [], (state, scheme)


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_every_view_fits_is_accessible_and_requests_no_other_host(
    stack: DashboardStack,
    browser: Browser,
    redis_server: RedisServer,
    size: dict[str, int],
) -> None:
    redis_server.kill()  # so that the turn is written to the database at once
    await send_command(stack, "what time is it")
    async with open_dashboard(browser, stack.url, viewport=size) as visit:
        await visit.page.goto(stack.url)
        await visit.page.get_by_label("API token").wait_for()
        await check_accessibility(visit, "login")
        await visit.log_in()
        for view in VIEWS:
            await visit.open_view(view)
            is_too_wide = (
                "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            )
            assert not await visit.page.evaluate(is_too_wide), view
            await check_accessibility(visit, view)
        await visit.open_view("turns")
        await visit.page.locator(".turn-row").first.click()
        await expect(visit.page.locator(".waterfall .bar").first).to_be_visible()
        await check_accessibility(visit, "one turn")
        await visit.open_view("gpu")
        await visit.page.get_by_role("button", name="Unload").first.click()
        await visit.page.get_by_role("dialog").wait_for()
        await check_accessibility(visit, "confirmation")
        assert visit.errors == []
        assert {re.sub(r"^(https://[^/]+).*", r"\1", one) for one in visit.requests} == {stack.url}


async def test_wrong_token_is_refused_and_a_revoked_session_logged_out(
    stack: DashboardStack, browser: Browser
) -> None:
    async with (
        open_dashboard(browser, stack.url) as phone,
        open_dashboard(browser, stack.url, viewport=DESKTOP) as tablet,
    ):
        await phone.log_in("guess")
        await expect(phone.page.get_by_role("alert")).to_contain_text("The token is wrong")
        await phone.log_in()
        await expect(phone.page.locator(".capabilities")).to_be_visible()
        cookie = next(one for one in await phone.context.cookies() if one["name"] == COOKIE_NAME)
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
        await tablet.log_in()
        await tablet.open_view("access")
        await tablet.page.locator(".sessions .danger").click()
        await tablet.page.get_by_role("dialog").get_by_role("button", name="Log out").click()
        await expect(tablet.page.locator(".sessions li")).to_have_count(1)
        await phone.open_view("gpu")
        await phone.page.reload()
        await expect(phone.page.get_by_label("API token")).to_be_visible()
        await tablet.page.get_by_role("button", name="Log out").click()
        await expect(tablet.page.get_by_label("API token")).to_be_visible()


async def test_expired_cookie_and_used_link_lead_to_the_login_page(
    stack: DashboardStack, browser: Browser
) -> None:
    async with open_dashboard(browser, stack.url) as visit:
        old = Authenticator(TOKEN).make_cookie("0123456789abcdef", time.time() - 31 * 86_400)
        await visit.context.add_cookies([{"name": COOKIE_NAME, "value": old, "url": stack.url}])
        await visit.page.goto(stack.url)
        await expect(visit.page.get_by_label("API token")).to_be_visible()
        key = Authenticator(TOKEN).make_link_key(time.time())
        await visit.page.goto(f"{stack.url}/login?key={key}")
        await expect(visit.page.locator(".capabilities")).to_be_visible()
        await visit.context.clear_cookies()
        await visit.page.goto(f"{stack.url}/login?key={key}")
        await expect(visit.page.get_by_role("alert")).to_contain_text("already used or has expired")


async def test_script_in_an_utterance_is_shown_as_text(
    stack: DashboardStack, browser: Browser
) -> None:
    script = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
    async with open_dashboard(browser, stack.url, viewport=DESKTOP) as visit:
        await visit.log_in()
        await visit.open_view("talk")
        await visit.page.get_by_placeholder("Type a command").fill(script)
        await visit.page.get_by_role("button", name="Send").click()
        await expect(visit.page.locator(".bubble.user")).to_have_text(script)
        await expect(visit.page.locator(".bubble.assistant, .bubble.error")).to_be_visible()
        await visit.open_view("status")
        await expect(visit.page.locator(".last-turn")).to_contain_text(script)
        await visit.page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.hacked=1';"
            " document.body.append(s); }"
        )
        assert await visit.page.evaluate("window.hacked") is None
        assert len(visit.errors) == 1  # the policy blocked the inserted script


async def test_other_origin_on_the_same_host_cannot_use_the_cookie(
    stack: DashboardStack, browser: Browser
) -> None:
    url = stack.api.url  # over plain HTTP, as with `up`, all ports are the same site
    attack = f"""<form id=f method=post enctype=text/plain action="{url}/v1/command">
      <input name='{{"utterance": "remember that it worked", "x": "' value='"}}'></form>
      <script>fetch("{url}/api/logout", {{method: "POST", credentials: "include",
        mode: "no-cors"}}).finally(() => f.submit())</script>"""
    attacker = Starlette(routes=[Route("/", lambda _: HTMLResponse(attack))])
    async with serve_app(attacker) as other, open_dashboard(browser, url) as visit:
        await visit.log_in()
        await expect(visit.page.locator(".capabilities")).to_be_visible()
        await visit.page.goto(other)
        await visit.page.wait_for_url(f"{url}/v1/command")
        assert "cross_site" in await visit.page.content()  # sent with the cookie and refused
        await visit.page.goto(url)
        await expect(visit.page.locator(".capabilities")).to_be_visible()
    async with stack.api.client() as client:
        assert (await client.get("/v1/turns")).json()["turns"] == []


async def test_failures_are_shown_and_nothing_stays_healthy_when_disconnected(
    stack: DashboardStack, browser: Browser, redis_server: RedisServer
) -> None:
    async with open_dashboard(browser, stack.url, viewport=DESKTOP) as visit:
        await visit.log_in()
        capability = visit.page.locator(".capability")
        await expect(capability.nth(0)).to_contain_text("hears you")
        stack.gpu_gone.set()
        await expect(capability.nth(0)).to_contain_text("speech service is not running")
        await expect(capability.nth(2)).to_contain_text("speech service is not running")
        await expect(visit.page.locator(".service-tree")).to_contain_text("gpu does not answer")
        redis_server.kill()
        await expect(capability.nth(3)).to_contain_text("may be lost")
        stack.api.kill()
        await expect(visit.page.locator(".connection")).to_contain_text("Connection lost, retrying")
        await expect(visit.page.locator("[data-state=healthy]")).to_have_count(0)
        redis_server.start()
        stack.api.start()
        await expect(visit.page.locator(".connection")).to_have_count(0)
        await expect(capability.nth(3)).to_contain_text("saved later")


async def test_model_is_unloaded_and_loaded(stack: DashboardStack, browser: Browser) -> None:
    async with open_dashboard(browser, stack.url, viewport=DESKTOP) as visit:
        await visit.log_in()
        await visit.open_view("gpu")
        row = visit.page.locator(".models li", has_text="embeddings")
        await row.get_by_role("button", name="Unload").click()
        await visit.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        await row.get_by_role("button", name="Unload").click()
        await visit.page.get_by_role("dialog").get_by_role("button", name="Unload").click()
        await row.get_by_role("button", name="Load", exact=False).click()
        await visit.page.get_by_role("dialog").get_by_role("button", name="Load").click()
        await expect(row.get_by_role("button", name="Unload")).to_be_visible()
        await expect(visit.page.locator(".decisions")).to_contain_text("embeddings")


async def test_spoken_command_is_answered_aloud(stack: DashboardStack, browser: Browser) -> None:
    async with open_dashboard(browser, stack.url, viewport=DESKTOP) as visit:
        await visit.page.add_init_script(MEASURE_PEAK_LEVEL)
        await visit.log_in()
        await speak_command(visit)
        await visit.open_view("status")
        await expect(visit.page.locator(".last-turn")).to_contain_text("kitchen light")
        assert visit.errors == []


async def test_denied_microphone_is_explained_and_typing_works(
    stack: DashboardStack,
) -> None:
    async with (
        launch_browser() as browser,
        open_dashboard(browser, stack.url, permissions=[]) as visit,
    ):
        await visit.log_in()
        await visit.open_view("talk")
        await visit.page.get_by_role("button", name="Talk").click()
        alert = visit.page.get_by_role("alert")
        await expect(alert).to_contain_text(re.compile("not allowed|No microphone"))
        await visit.page.get_by_placeholder("Type a command").fill("what time is it")
        await visit.page.keyboard.press("Enter")
        await expect(visit.page.locator(".bubble.assistant")).to_contain_text("It's")


async def test_nginx_and_api_send_the_same_page_and_policy(
    stack: DashboardStack,
) -> None:
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - test certificate
        proxied, direct = await client.get(stack.url), await client.get(stack.api.url)
        assert proxied.text == direct.text
        for name in ("content-security-policy", "permissions-policy", "x-content-type-options"):
            assert proxied.headers[name] == direct.headers[name]
        script = re.search(r'src="\.(/assets/[^"]+)"', proxied.text)
        assert script is not None
        for url in (stack.url, stack.api.url):
            response = await client.get(f"{url}{script[1]}", headers={"Accept-Encoding": "gzip"})
            assert response.headers["content-encoding"] == "gzip"
            assert "max-age=31536000" in response.headers["cache-control"]
            assert (await client.get(f"{url}/headers.json")).status_code in {401, 404}
