"""The page in a real browser, through nginx: every view, every refusal, and parts that go away."""

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
    LISTEN,
    PHONE,
    PageHouse,
    Visit,
    browsing,
    microphone,
    page_house,
    visiting,
)
from support.redis import RedisServer
from support.voice import TOKEN, load_recording, make_silence
from support.wait import eventually

VIEWS = ("now", "talk", "turns", "gpu", "backups", "access")
WITHIN_MS = 30_000


@pytest.fixture
async def house(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[PageHouse]:
    async with page_house(tmp_path, redis_server) as there:
        yield there


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    heard = microphone(tmp_path / "said.wav", make_silence(1), load_recording("kitchen_light_bm_george"))
    async with browsing(*heard) as there:
        yield there


async def say(house: PageHouse, utterance: str) -> None:
    async with house.api.client() as client:
        answer = await client.post("/v1/command", json={"utterance": utterance})
        assert answer.status_code == 200, answer.text


async def readable(visit: Visit, what: str) -> None:
    """Let axe look at the page as it is, by day and by night."""
    for scheme in ("light", "dark"):
        await visit.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert await visit.violations() == [], (what, scheme)


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_every_view_fits_is_readable_and_asks_nobody_else(
    house: PageHouse,
    browser: Browser,
    redis_server: RedisServer,
    size: dict[str, int],
) -> None:
    redis_server.kill()  # so that the turn is written at once
    await say(house, "what time is it")
    async with visiting(browser, house.url, viewport=size) as visit:
        await visit.page.goto(house.url)
        await visit.page.get_by_label("The house's token").wait_for()
        await readable(visit, "login")
        await visit.enter()
        for view in VIEWS:
            await visit.go(view)
            wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            assert not await visit.page.evaluate(wide), view
            await readable(visit, view)
        await visit.go("turns")
        await visit.page.locator(".turn-row").first.click()
        await expect(visit.page.locator(".waterfall .bar").first).to_be_visible()
        await readable(visit, "one turn")
        await visit.go("gpu")
        await visit.page.get_by_role("button", name="Unload").first.click()
        await visit.page.get_by_role("dialog").wait_for()
        await readable(visit, "a question before something is done")
        assert visit.complaints == []
        assert {re.sub(r"^(https://[^/]+).*", r"\1", one) for one in visit.asked} == {house.url}


async def test_a_wrong_token_is_refused_and_a_browser_shown_out_is_at_the_door_again(
    house: PageHouse, browser: Browser
) -> None:
    async with (
        visiting(browser, house.url) as phone,
        visiting(browser, house.url, viewport=DESKTOP) as tablet,
    ):
        await phone.enter("guess")
        await expect(phone.page.get_by_role("alert")).to_contain_text("not this house's token")
        await phone.enter()
        await expect(phone.page.locator(".abilities")).to_be_visible(timeout=WITHIN_MS)
        cookie = next(one for one in await phone.context.cookies() if one["name"] == COOKIE_NAME)
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
        await tablet.enter()
        await tablet.go("access")
        await tablet.page.get_by_role("button", name="Show out").click()
        await tablet.page.get_by_role("dialog").get_by_role("button", name="Show out").click()
        await expect(tablet.page.locator(".browsers li")).to_have_count(1)
        await phone.go("gpu")
        await phone.page.reload()
        await expect(phone.page.get_by_label("The house's token")).to_be_visible()
        await tablet.page.get_by_role("button", name="Log out").click()
        await expect(tablet.page.get_by_label("The house's token")).to_be_visible()


async def test_an_expired_cookie_and_a_used_link_lead_to_the_door(
    house: PageHouse, browser: Browser
) -> None:
    async with visiting(browser, house.url) as visit:
        old = Authenticator(TOKEN).make_cookie("0123456789abcdef", time.time() - 31 * 86_400)
        await visit.context.add_cookies([{"name": COOKIE_NAME, "value": old, "url": house.url}])
        await visit.page.goto(house.url)
        await expect(visit.page.get_by_label("The house's token")).to_be_visible()
        key = Authenticator(TOKEN).make_link_key(time.time())
        await visit.page.goto(f"{house.url}/login?key={key}")
        await expect(visit.page.locator(".abilities")).to_be_visible(timeout=WITHIN_MS)
        await visit.context.clear_cookies()
        await visit.page.goto(f"{house.url}/login?key={key}")
        await expect(visit.page.get_by_role("alert")).to_contain_text("used or is too old")


async def test_a_script_in_an_utterance_is_text(house: PageHouse, browser: Browser) -> None:
    script = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
    async with visiting(browser, house.url, viewport=DESKTOP) as visit:
        await visit.enter()
        await visit.go("talk")
        await visit.page.get_by_placeholder("Or type it").fill(script)
        await visit.page.get_by_role("button", name="Send").click()
        await expect(visit.page.locator(".bubble.you")).to_have_text(script)
        await expect(visit.page.locator(".bubble.house, .bubble.trouble")).to_be_visible()
        await visit.go("now")
        await expect(visit.page.locator(".last-turn")).to_contain_text(script)
        await visit.page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.hacked=1';"
            " document.body.append(s); }"
        )
        assert await visit.page.evaluate("window.hacked") is None
        assert len(visit.complaints) == 1  # the policy refused the script of this test


async def test_another_origin_on_the_same_machine_cannot_act_in_the_browser_s_name(
    house: PageHouse, browser: Browser
) -> None:
    url = house.api.url  # by plain HTTP, as `up` serves it: ports are then of one "site"
    attack = f"""<form id=f method=post enctype=text/plain action="{url}/v1/command">
      <input name='{{"utterance": "remember that it worked", "x": "' value='"}}'></form>
      <script>fetch("{url}/api/logout", {{method: "POST", credentials: "include",
        mode: "no-cors"}}).finally(() => f.submit())</script>"""
    elsewhere = Starlette(routes=[Route("/", lambda _: HTMLResponse(attack))])
    async with serve_app(elsewhere) as other, visiting(browser, url) as visit:
        await visit.enter()
        await expect(visit.page.locator(".abilities")).to_be_visible(timeout=WITHIN_MS)
        await visit.page.goto(other)
        await visit.page.wait_for_url(f"{url}/v1/command", timeout=WITHIN_MS)
        assert "cross_site" in await visit.page.content()  # it came with the cookie, and is refused
        await visit.page.goto(url)
        await expect(visit.page.locator(".abilities")).to_be_visible(timeout=WITHIN_MS)
    async with house.api.client() as client:
        assert (await client.get("/v1/turns")).json()["turns"] == []


async def test_what_goes_away_is_seen_at_once_and_nothing_stays_green(
    house: PageHouse, browser: Browser, redis_server: RedisServer
) -> None:
    async with visiting(browser, house.url, viewport=DESKTOP) as visit:
        await visit.enter()
        ability = visit.page.locator(".ability")
        await expect(ability.nth(0)).to_contain_text("hears you", timeout=WITHIN_MS)
        house.gpu_gone.set()
        await expect(ability.nth(0)).to_contain_text("cannot hear", timeout=WITHIN_MS)
        await expect(ability.nth(2)).to_contain_text("lost its voice", timeout=WITHIN_MS)
        await expect(visit.page.locator(".cascade")).to_contain_text("gpu does not answer")
        redis_server.kill()
        await expect(ability.nth(3)).to_contain_text("may be lost", timeout=WITHIN_MS)
        house.api.kill()
        await expect(visit.page.locator(".connection")).to_contain_text("Connection lost, retrying")
        await expect(visit.page.locator("[data-state=healthy]")).to_have_count(0)
        redis_server.start()
        house.api.start()
        await expect(visit.page.locator(".connection")).to_have_count(0, timeout=WITHIN_MS)
        await expect(ability.nth(3)).to_contain_text("written down later", timeout=WITHIN_MS)


async def test_a_model_is_unloaded_and_loaded_by_hand(house: PageHouse, browser: Browser) -> None:
    async with visiting(browser, house.url, viewport=DESKTOP) as visit:
        await visit.enter()
        await visit.go("gpu")
        row = visit.page.locator(".models li", has_text="embeddings")
        await row.get_by_role("button", name="Unload").click()
        await visit.page.get_by_role("dialog").get_by_role("button", name="Leave it").click()
        await row.get_by_role("button", name="Unload").click()
        await visit.page.get_by_role("dialog").get_by_role("button", name="Unload").click()
        await row.get_by_role("button", name="Load", exact=False).click(timeout=WITHIN_MS)
        await visit.page.get_by_role("dialog").get_by_role("button", name="Load").click()
        await expect(row.get_by_role("button", name="Unload")).to_be_visible(timeout=WITHIN_MS)
        await expect(visit.page.locator(".decisions")).to_contain_text("embeddings")


async def test_somebody_talks_to_the_page_and_it_answers_aloud(
    house: PageHouse, browser: Browser
) -> None:
    async with visiting(browser, house.url, viewport=DESKTOP) as visit:
        await visit.page.add_init_script(LISTEN)
        await visit.enter()
        await visit.go("talk")
        button = visit.page.get_by_role("button", name="Talk")
        await button.focus()
        await visit.page.keyboard.down(" ")
        await expect(visit.page.locator(".talk-doing")).to_have_text(
            "It hears you", timeout=WITHIN_MS
        )
        await visit.page.wait_for_timeout(1500)  # the rest of the sentence, as it is spoken
        await visit.page.keyboard.up(" ")
        said = visit.page.locator(".conversation")
        await expect(said).to_contain_text("turn on the kitchen light", timeout=WITHIN_MS)
        await expect(said).to_contain_text("first sound", timeout=WITHIN_MS)
        await eventually(lambda: visit.page.evaluate("window.loudest > 0.05"), within_s=30)
        await visit.go("now")
        await expect(visit.page.locator(".last-turn")).to_contain_text("kitchen light")
        assert visit.complaints == []


async def test_a_microphone_that_is_not_allowed_is_explained_and_typing_works(
    house: PageHouse,
) -> None:
    async with browsing() as browser, visiting(browser, house.url, permissions=[]) as visit:
        await visit.enter()
        await visit.go("talk")
        await visit.page.get_by_role("button", name="Talk").click()
        alert = visit.page.get_by_role("alert")
        await expect(alert).to_contain_text(re.compile("not allowed|no microphone"))
        await visit.page.get_by_placeholder("Or type it").fill("what time is it")
        await visit.page.keyboard.press("Enter")
        await expect(visit.page.locator(".bubble.house")).to_contain_text("It's")


async def test_nginx_and_the_api_send_the_same_page_with_the_same_policy(
    house: PageHouse,
) -> None:
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - made for this test
        here, there = await client.get(house.url), await client.get(house.api.url)
        assert here.text == there.text
        for name in ("content-security-policy", "permissions-policy", "x-content-type-options"):
            assert here.headers[name] == there.headers[name]
        script = re.search(r'src="(/assets/[^"]+)"', here.text)
        assert script is not None
        for url in (house.url, house.api.url):
            answer = await client.get(f"{url}{script[1]}", headers={"Accept-Encoding": "gzip"})
            assert answer.headers["content-encoding"] == "gzip"
            assert "max-age=31536000" in answer.headers["cache-control"]
            assert (await client.get(f"{url}/headers.json")).status_code in {401, 404}
