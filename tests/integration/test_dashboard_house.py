"""The page before the whole real house: a spoken question, a link, parts that are killed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from support.dashboard import DESKTOP, LISTEN, browsing, built, microphone, visiting
from support.deployment import WholeHouse
from support.nginx import Nginx
from support.voice import load_recording, make_silence
from support.wait import eventually

WITHIN_MS = 60_000
pytestmark = [pytest.mark.alone, pytest.mark.timeout(600)]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[WholeHouse]:
    await built()
    whole = WholeHouse(tmp_path / "house", demo_home=False)
    try:
        whole.up()
        yield whole
        whole.down()
    finally:
        whole.clean()


async def test_a_question_spoken_into_the_page_is_answered_aloud_and_parts_may_die(
    house: WholeHouse, tmp_path: Path
) -> None:
    nginx = Nginx(tmp_path / "nginx", house.url("api"), await built()).start()
    heard = microphone(tmp_path / "said.wav", make_silence(2), load_recording("what_time_af_heart"))
    link = re.search(r"/login\?key=\S+", house.cli("link").stdout)
    assert link is not None
    try:
        async with (
            browsing(*heard) as browser,
            visiting(browser, nginx.url, viewport=DESKTOP) as visit,
        ):
            page = visit.page
            await page.add_init_script(LISTEN)
            await page.goto(f"{nginx.url}{link[0]}")
            abilities = page.locator(".ability")
            for number in range(4):
                well = abilities.nth(number).locator("[data-state=healthy]")
                await expect(well).to_be_visible(timeout=WITHIN_MS)

            await visit.go("talk")
            button = page.get_by_role("button", name="Talk")
            await button.focus()
            await page.keyboard.down(" ")
            doing = page.locator(".talk-doing")
            await expect(doing).to_have_text("It hears you", timeout=WITHIN_MS)
            await page.wait_for_timeout(1500)  # the rest of the sentence, as it is spoken
            await page.keyboard.up(" ")
            said = page.locator(".conversation")
            asked = re.compile("what time is it", re.IGNORECASE)
            await expect(said.locator(".you")).to_have_text(asked, timeout=WITHIN_MS)
            await expect(said.locator(".house")).to_contain_text("It's", timeout=WITHIN_MS)
            await expect(said).to_contain_text("first sound", timeout=WITHIN_MS)
            await eventually(lambda: page.evaluate("window.loudest > 0.05"), within_s=30)

            await said.get_by_role("link", name="where the time went").click()
            stages = page.locator(".waterfall .stage")
            await expect(stages.filter(has_text="stt").first).to_be_visible(timeout=WITHIN_MS)
            await expect(stages.filter(has_text="first audio")).to_be_visible(timeout=WITHIN_MS)
            who = page.locator(".log-who")
            for component in ("api", "gpu", "voice"):
                await expect(who.filter(has_text=component).first).to_be_visible()

            await called_by_its_name(house, nginx.url, tmp_path)
            await visit.go("now")
            house.kill("gpu")
            await expect(abilities.nth(0)).to_contain_text("annot", timeout=WITHIN_MS)
            well = abilities.nth(0).locator("[data-state=healthy]")
            await expect(well).to_be_visible(timeout=2 * WITHIN_MS)
            house.kill("api")
            lost = page.locator(".connection")
            await expect(lost).to_contain_text("Connection lost, retrying", timeout=WITHIN_MS)
            await expect(page.locator("[data-state=healthy]")).to_have_count(0)
            await expect(lost).to_have_count(0, timeout=WITHIN_MS)
            await expect(well).to_be_visible(timeout=2 * WITHIN_MS)
            assert visit.complaints == []
    finally:
        nginx.stop()


async def called_by_its_name(house: WholeHouse, url: str, directory: Path) -> None:
    """Say the wake word and a question into a page that listens, with no hand on it."""
    said = (load_recording("wake/hey_jarvis_af_heart"), make_silence(0.4), load_recording("what_time_af_heart"))
    heard = microphone(directory / "called.wav", make_silence(4), *said)
    async with browsing(*heard) as browser, visiting(browser, url) as visit:
        page = visit.page
        await page.add_init_script(LISTEN)
        await visit.enter(house.token)
        await page.locator(".abilities").wait_for(timeout=WITHIN_MS)
        await visit.go("talk")
        await page.get_by_role("switch").click()
        said_here = page.locator(".conversation")
        asked = re.compile("what time is it", re.IGNORECASE)
        await expect(said_here.locator(".you")).to_have_text(asked, timeout=WITHIN_MS)
        await expect(said_here.locator(".house")).to_contain_text("It's", timeout=WITHIN_MS)
        await eventually(lambda: page.evaluate("window.loudest > 0.05"), within_s=30)
        assert visit.complaints == []
