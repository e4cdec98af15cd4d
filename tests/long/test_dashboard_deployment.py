"""Dashboard of a complete deployment: login link, spoken question, wake word, failures."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from support.dashboard import (
    DESKTOP,
    MEASURE_PEAK_LEVEL,
    WITHIN_MS,
    build_dashboard,
    launch_browser,
    make_microphone_options,
    open_dashboard,
)
from support.deployment import Deployment
from support.nginx import Nginx
from support.voice import load_recording, make_silence
from support.wait import eventually

pytestmark = [pytest.mark.alone, pytest.mark.timeout(600)]


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    await build_dashboard()
    running = Deployment(tmp_path / "deployment", demo_home=False)
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.clean_up()


async def test_spoken_question_is_answered_and_killed_services_recover(
    deployment: Deployment, tmp_path: Path
) -> None:
    nginx = Nginx(tmp_path / "nginx", deployment.url("api"), await build_dashboard()).start()
    options = make_microphone_options(
        tmp_path / "said.wav", make_silence(2), load_recording("what_time_af_heart")
    )
    link = re.search(r"/login\?key=\S+", deployment.run_cli("link").stdout)
    assert link is not None
    try:
        async with (
            launch_browser(*options) as browser,
            open_dashboard(browser, nginx.url, viewport=DESKTOP) as visit,
        ):
            page = visit.page
            await page.add_init_script(MEASURE_PEAK_LEVEL)
            await page.goto(f"{nginx.url}{link[0]}")
            capabilities = page.locator(".capability")
            for number in range(4):
                healthy = capabilities.nth(number).locator("[data-state=healthy]")
                await expect(healthy).to_be_visible()

            await visit.open_view("talk")
            button = page.get_by_role("button", name="Talk")
            await button.focus()
            await page.keyboard.down(" ")
            activity = page.locator(".talk-activity")
            await expect(activity).to_have_text("Hearing you")
            await page.wait_for_timeout(1500)  # duration of the sentence
            await page.keyboard.up(" ")
            conversation = page.locator(".conversation")
            question = re.compile("what time is it", re.IGNORECASE)
            await expect(conversation.locator(".user")).to_have_text(question)
            await expect(conversation.locator(".assistant")).to_contain_text("It's")
            await expect(conversation).to_contain_text("first sound")
            await eventually(lambda: page.evaluate("window.loudest > 0.05"))

            await conversation.get_by_role("link", name="timings").click()
            stages = page.locator(".waterfall .stage")
            await expect(stages.filter(has_text="stt").first).to_be_visible()
            await expect(stages.filter(has_text="first audio")).to_be_visible()
            components = page.locator(".log-component")
            for component in ("api", "gpu", "voice"):
                await expect(components.filter(has_text=component).first).to_be_visible()

            await ask_with_wake_word(deployment, nginx.url, tmp_path)
            await visit.open_view("status")
            deployment.kill("gpu")
            await expect(capabilities.nth(0)).to_contain_text("not")
            healthy = capabilities.nth(0).locator("[data-state=healthy]")
            await expect(healthy).to_be_visible(timeout=2 * WITHIN_MS)
            deployment.kill("api")
            lost = page.locator(".connection")
            await expect(lost).to_contain_text("Connection lost, retrying")
            await expect(page.locator("[data-state=healthy]")).to_have_count(0)
            await expect(lost).to_have_count(0)
            await expect(healthy).to_be_visible(timeout=2 * WITHIN_MS)
            assert visit.errors == []
    finally:
        nginx.stop()


async def ask_with_wake_word(deployment: Deployment, url: str, directory: Path) -> None:
    """Say the wake word and a question to a page that listens for the wake word."""
    sounds = (
        load_recording("wake/hey_jarvis_af_heart"),
        make_silence(0.4),
        load_recording("what_time_af_heart"),
    )
    options = make_microphone_options(directory / "wake_word.wav", make_silence(4), *sounds)
    async with launch_browser(*options) as browser, open_dashboard(browser, url) as visit:
        page = visit.page
        await page.add_init_script(MEASURE_PEAK_LEVEL)
        await visit.log_in(deployment.token)
        await page.locator(".capabilities").wait_for()
        await visit.open_view("talk")
        await page.get_by_role("switch").click()
        conversation = page.locator(".conversation")
        question = re.compile("what time is it", re.IGNORECASE)
        await expect(conversation.locator(".user")).to_have_text(question)
        await expect(conversation.locator(".assistant")).to_contain_text("It's")
        await eventually(lambda: page.evaluate("window.loudest > 0.05"))
        assert visit.errors == []
