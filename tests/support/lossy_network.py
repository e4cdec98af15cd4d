"""Lossy network for tests: a network namespace behind a veth pair with netem packet loss.

`python -m support.lossy_network URL TOKEN WAV OUT` is the browser inside the namespace: it speaks
the WAV, waits for the reply, and writes the received messages and audio to OUT.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import uuid
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
OUTSIDE, INSIDE = "10.231.77.1", "10.231.77.2"
REPLY_TIMEOUT_S = 120


def run_command(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def unavailability_reason() -> str:
    """Return why such a network cannot be created here; empty when it can."""
    missing = [name for name in ("ip", "tc") if not shutil.which(name)]
    if missing:
        return f"{' and '.join(missing)} not installed (Debian: iproute2)"
    name = f"probe{uuid.uuid4().hex[:6]}"
    created = run_command("ip", "netns", "add", name)
    if created.returncode:
        return f"network namespaces are not permitted here ({created.stderr.strip()})"
    try:
        up = run_command("ip", "-n", name, "link", "set", "lo", "up")
        loss = run_command(
            "ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "lo", "root", "netem"
        )
        return (up.stderr + loss.stderr).strip()
    finally:
        run_command("ip", "netns", "del", name)


@contextmanager
def run_lossy_namespace(loss_percent: int) -> Iterator[str]:
    """Create a namespace with packet loss in both directions; yield its name."""
    name = f"lossy{uuid.uuid4().hex[:6]}"
    steps = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", f"{name}o", "type", "veth", "peer", "name", f"{name}i"],
        ["ip", "link", "set", f"{name}i", "netns", name],
        ["ip", "addr", "add", f"{OUTSIDE}/24", "dev", f"{name}o"],
        ["ip", "link", "set", f"{name}o", "up"],
        ["ip", "-n", name, "addr", "add", f"{INSIDE}/24", "dev", f"{name}i"],
        ["ip", "-n", name, "link", "set", f"{name}i", "up"],
        ["ip", "-n", name, "link", "set", "lo", "up"],
        ["tc", "qdisc", "add", "dev", f"{name}o", "root", "netem", "loss", f"{loss_percent}%"],
        [
            *("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", f"{name}i"),
            *("root", "netem", "loss", f"{loss_percent}%"),
        ],
    ]
    try:
        for step in steps:
            result = run_command(*step)
            assert not result.returncode, f"{' '.join(step)}: {result.stderr}"
        yield name
    finally:
        run_command("ip", "netns", "del", name)
        run_command("ip", "link", "del", f"{name}o")


def run_browser(name: str, url: str, token: str, wav: Path, out: Path) -> None:
    """Run the browser inside the namespace; AssertionError when it fails."""
    done = subprocess.run(
        [
            *("ip", "netns", "exec", name, sys.executable, "-m", "support.lossy_network"),
            *(url, token, str(wav), str(out)),
        ],
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}"},
        capture_output=True,
        text=True,
        timeout=REPLY_TIMEOUT_S + 60,
        check=False,
    )
    assert not done.returncode, done.stderr[-3000:]


async def main(url: str, token: str, wav: str, out: str) -> None:
    """Ask the question in `wav` and write the reply to `out`."""
    import numpy as np  # noqa: PLC0415 - only needed inside the namespace

    from support.webrtc_browser import open_browser  # noqa: PLC0415 - only needed inside the namespace

    with wave.open(wav, "rb") as file:
        question = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    async with open_browser(url, token=token) as browser:
        browser.send_message(type="talk", on=True)
        await browser.wait_until(lambda: browser.state == "listening")
        browser.microphone.enqueue(question, np.zeros(8000, np.int16))
        await browser.wait_until(lambda: not browser.microphone.waiting)
        browser.send_message(type="talk", on=False)
        await browser.wait_until(lambda: bool(browser.get_messages("reply")), REPLY_TIMEOUT_S)
        await browser.wait_until(lambda: browser.state == "follow_up", REPLY_TIMEOUT_S)
        Path(out).write_text(json.dumps(browser.messages), encoding="utf-8")
        Path(out).with_suffix(".pcm").write_bytes(browser.samples.tobytes())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
