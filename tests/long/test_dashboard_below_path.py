"""Dashboard below a path of a reverse proxy, in a real browser: page, login, voice and links."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from support.dashboard import (
    DESKTOP,
    MEASURE_PEAK_LEVEL,
    build_dashboard,
    launch_browser,
    make_microphone_options,
    open_dashboard,
    run_dashboard_stack,
    speak_command,
)
from support.nginx import Nginx, PrefixForm
from support.redis import RedisServer
from support.voice import load_recording, make_silence

pytestmark = pytest.mark.timeout(600)
PREFIX_FORMS: tuple[PrefixForm, ...] = ("rewrite", "strip", "pass")


async def test_page_below_a_path_works_and_requests_nothing_outside_it(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    page = await build_dashboard()
    options = make_microphone_options(
        tmp_path / "said.wav", make_silence(1), load_recording("kitchen_light_bm_george")
    )
    async with (
        run_dashboard_stack(tmp_path, redis_server) as stack,
        launch_browser(*options) as browser,
    ):
        for how in PREFIX_FORMS:
            nginx = Nginx(tmp_path / how, stack.api.url, page, prefix="/barnabee", how=how).start()
            try:
                await use_page_below_path(browser, nginx.url)
            finally:
                nginx.stop()


async def use_page_below_path(browser: Browser, url: str) -> None:
    """Log in, speak a command, and log in another browser with a link."""
    async with (
        open_dashboard(browser, url, viewport=DESKTOP) as tablet,
        open_dashboard(browser, url) as phone,
    ):
        await tablet.page.add_init_script(MEASURE_PEAK_LEVEL)
        await tablet.log_in()
        await expect(tablet.page.locator(".capabilities")).to_be_visible()
        assert {one.get("path") for one in await tablet.context.cookies()} == {"/barnabee/"}
        await speak_command(tablet)
        await tablet.open_view("status")
        await expect(tablet.page.locator(".last-turn")).to_contain_text("kitchen light")
        await tablet.open_view("access")
        await tablet.page.get_by_role("button", name="Create a link").click()
        link = await tablet.page.locator("code").text_content() or ""
        assert link.startswith(f"{url}/login?key=")
        await phone.page.goto(link)
        await expect(phone.page.locator(".capabilities")).to_be_visible()
        for visit in (tablet, phone):
            assert {one for one in visit.requests if not one.startswith(f"{url}/")} <= {url}
            assert visit.errors == []
