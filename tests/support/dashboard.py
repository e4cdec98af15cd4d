"""Dashboard in a real Chromium, behind a real nginx, with a real api and fake engines."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import subprocess
import wave
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from barnabee.core.errors import SetupFailed
from barnabee.up import dashboard
from barnabee.up.dashboard import NodeProvider, NodeRuntime
from support.api import ApiProcess
from support.asgi_server import serve_app
from support.gpu_app import ServiceStarter
from support.nginx import Nginx, find_nginx
from support.redis import RedisServer
from support.voice import TOKEN, Samples, make_silence, run_voice_service
from support.wait import eventually, find_free_port

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "dashboard"
NODE_MODULES = SOURCES / "node_modules"
PHONE = {"width": 360, "height": 780}
DESKTOP = {"width": 1280, "height": 860}
WITHIN_MS = 60_000  # Chromium and all services share the cores with other tests
expect.set_options(timeout=WITHIN_MS)

# Keeps the peak level of the received audio, 0 to 1, in `window.loudest`.
MEASURE_PEAK_LEVEL = """
window.loudest = 0;
const Peer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Peer {
  constructor(...options) {
    super(...options);
    this.addEventListener("track", ({ streams }) => {
      const context = new AudioContext();
      const analyser = context.createAnalyser();
      context.createMediaStreamSource(streams[0]).connect(analyser);
      const samples = new Float32Array(analyser.fftSize);
      setInterval(() => {
        analyser.getFloatTimeDomainData(samples);
        for (const one of samples) window.loudest = Math.max(window.loudest, Math.abs(one));
      }, 20);
    });
  }
};
"""


def find_chromium() -> str | None:
    """Return the path of Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


async def build_dashboard() -> Path:
    """Return the built dashboard; skips the test, with the reason, if it cannot be built."""
    if find_chromium() is None:
        pytest.skip("chromium is not installed (Debian: chromium)")
    if find_nginx() is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    messages: list[str] = []
    async with NodeProvider() as node:
        found = await dashboard.ensure_dashboard(messages.append, node)
    if found is None:
        pytest.skip(f"the dashboard cannot be built: {messages}")
    return found


def make_microphone_options(path: Path, *sounds: Samples) -> list[str]:
    """Return Chromium options that play `sounds` in a loop as its microphone."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.concatenate([*sounds, make_silence(60)]).tobytes())
    return [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={path}",
    ]


@asynccontextmanager
async def launch_browser(*options: str) -> AsyncIterator[Browser]:
    """Yield a headless Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(),
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", *options],
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class DashboardPage:
    """Page of one browser, with its requests, script errors and policy violations."""

    page: Page
    context: BrowserContext
    url: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def log_in(self, token: str = TOKEN) -> None:
        """Log in with a token."""
        await self.page.goto(self.url)
        await self.page.get_by_label("API token").fill(token)
        await self.page.get_by_role("button", name="Log in").click()

    async def open_view(self, view: str) -> None:
        """Open a view and wait until it is shown."""
        await self.page.goto(f"{self.url}/#/{view}")
        await self.page.locator("main .view h1").first.wait_for(state="attached")

    async def find_accessibility_violations(self) -> list[str]:
        """Return the violations that axe finds on the current page."""
        async with install_node_packages():
            axe = (NODE_MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
        found: dict[str, Any] = await self.page.evaluate(
            f"async () => {{ {axe}; return await axe.run(); }}"
        )
        return [
            f"{item['id']}: {item['nodes'][0]['html'][:200]} ({item['nodes'][0]['failureSummary']})"
            for item in found["violations"]
        ]


@asynccontextmanager
async def open_dashboard(
    browser: Browser, url: str, **options: Any
) -> AsyncIterator[DashboardPage]:
    """Open the dashboard in a new browser context."""
    context = await browser.new_context(ignore_https_errors=True, locale="en-GB", **options)
    context.set_default_timeout(WITHIN_MS)
    page = await context.new_page()
    visit = DashboardPage(page, context, url)
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on(
        "console",
        lambda message: (
            visit.errors.append(message.text) if "Content Security Policy" in message.text else None
        ),
    )
    try:
        yield visit
    finally:
        await context.close()


async def speak_command(visit: DashboardPage) -> None:
    """Hold the button while the microphone plays the command, and wait for the spoken reply."""
    await visit.open_view("talk")
    button = visit.page.get_by_role("button", name="Talk")
    await button.focus()
    await visit.page.keyboard.down(" ")
    await expect(visit.page.locator(".talk-activity")).to_have_text("Hearing you")
    await visit.page.wait_for_timeout(1500)  # duration of the sentence
    await visit.page.keyboard.up(" ")
    conversation = visit.page.locator(".conversation")
    await expect(conversation).to_contain_text("turn on the kitchen light")
    await expect(conversation).to_contain_text("first sound")
    await eventually(lambda: visit.page.evaluate("window.loudest > 0.05"))


@dataclass
class DashboardStack:
    """Real api, voice, Redis and nginx with fake engines; setting `gpu_gone` stops the engines."""

    api: ApiProcess
    nginx: Nginx
    gpu_gone: asyncio.Event

    @property
    def url(self) -> str:
        return self.nginx.url


@asynccontextmanager
async def run_dashboard_stack(directory: Path, redis: RedisServer) -> AsyncIterator[DashboardStack]:
    page = await build_dashboard()
    async with AsyncExitStack() as stack:
        service = await ServiceStarter(stack)()
        gone, ready = asyncio.Event(), asyncio.Event()
        urls: list[str] = []

        async def engines() -> None:
            async with serve_app(service.running.app, lifespan="off") as url:
                urls.append(url)
                ready.set()
                await gone.wait()

        task = asyncio.create_task(engines())
        stack.push_async_callback(asyncio.gather, task)
        stack.callback(gone.set)
        await ready.wait()
        port = find_free_port()
        voices = await stack.enter_async_context(
            run_voice_service(urls[0], f"http://127.0.0.1:{port}", directory)
        )
        environment = {
            "GPU_SERVICE_URL": urls[0],
            "VOICE_URL": voices.url,
            "BARNABEE_LOG_FILE": str(directory / "api" / "api.jsonl"),
            "BARNABEE_DASHBOARD": str(page),
            "BARNABEE_TRUSTED_PROXIES": "127.0.0.1",
        }
        api = ApiProcess(
            directory / "api", redis.url, environment=environment, token=TOKEN, port=port
        ).start()
        stack.callback(api.kill)
        await api.wait_until_unhealthy()
        nginx = Nginx(directory / "nginx", api.url, page).start()
        stack.callback(nginx.stop)
        yield DashboardStack(api, nginx, gone)


@asynccontextmanager
async def install_node_packages() -> AsyncIterator[NodeRuntime]:
    """Yield Node with the packages of the lock file installed; fails the test if it cannot."""
    async with NodeProvider() as provider:
        try:
            found = await provider.get_runtime()
        except SetupFailed as error:
            pytest.fail(str(error))
        await asyncio.to_thread(_install_packages, found)
        yield found


def _install_packages(node: NodeRuntime) -> None:
    with (SOURCES / "package.json").open("rb") as lock:  # tests run in parallel
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (NODE_MODULES / ".package-lock.json").is_file():
            done = subprocess.run(
                [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=SOURCES,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                reason = dashboard.extract_reason(done.stdout + done.stderr)
                pytest.fail(f"the dashboard's packages cannot be installed: {reason}")
