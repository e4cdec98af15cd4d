"""A network that loses packets: a namespace of its own behind a pair of virtual cables.

`python -m support.lossy URL TOKEN WAV OUT` is the browser that runs inside it: it says the WAV,
waits for the answer, and leaves what it heard and saw in OUT.
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
ANSWERED_S = 120


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def unavailable() -> str:
    """Return why no such network can be made here; empty when it can."""
    missing = [name for name in ("ip", "tc") if not shutil.which(name)]
    if missing:
        return f"{' and '.join(missing)} not installed (Debian: iproute2)"
    name = f"probe{uuid.uuid4().hex[:6]}"
    made = run("ip", "netns", "add", name)
    if made.returncode:
        return f"network namespaces are not permitted here ({made.stderr.strip()})"
    try:
        up = run("ip", "-n", name, "link", "set", "lo", "up")
        loss = run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "lo", "root", "netem")
        return (up.stderr + loss.stderr).strip()
    finally:
        run("ip", "netns", "del", name)


@contextmanager
def namespace(loss_percent: int) -> Iterator[str]:
    """Make a namespace that loses so many packets in both directions; yield its name."""
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
            done = run(*step)
            assert not done.returncode, f"{' '.join(step)}: {done.stderr}"
        yield name
    finally:
        run("ip", "netns", "del", name)
        run("ip", "link", "del", f"{name}o")


def browse(name: str, url: str, token: str, wav: Path, out: Path) -> None:
    """Run the browser inside the namespace."""
    done = subprocess.run(
        [
            *("ip", "netns", "exec", name, sys.executable, "-m", "support.lossy"),
            *(url, token, str(wav), str(out)),
        ],
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}"},
        capture_output=True,
        text=True,
        timeout=ANSWERED_S + 60,
        check=False,
    )
    assert not done.returncode, done.stderr[-3000:]


async def main(url: str, token: str, wav: str, out: str) -> None:
    """Be the browser."""
    import numpy as np  # noqa: PLC0415 - only the process inside needs it

    from support.webrtc import browsing  # noqa: PLC0415 - see above

    with wave.open(wav, "rb") as file:
        question = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    async with browsing(url, token=token) as browser:
        browser.tell(type="talk", on=True)
        await browser.until(lambda: browser.state == "listening")
        browser.microphone.say(question, np.zeros(8000, np.int16))
        await browser.until(lambda: not browser.microphone.waiting)
        browser.tell(type="talk", on=False)
        await browser.until(lambda: bool(browser.of("reply")), ANSWERED_S)
        await browser.until(lambda: browser.state == "follow_up", ANSWERED_S)
        Path(out).write_text(json.dumps(browser.messages), encoding="utf-8")
        Path(out).with_suffix(".pcm").write_bytes(browser.sound.tobytes())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
