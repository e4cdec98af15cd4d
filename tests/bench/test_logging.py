"""Cost of a log line, blocking of the event loop, and an outage of Loki."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.benchmark import choose_size, is_at_least, is_at_most
from support.wait import find_free_port

HERE = Path(__file__).parent
LINE_LIMIT_US = 50
STILL_LIMIT_MS = 100  # scheduling delays on a busy machine; a blocked loop stops for seconds
RATE = choose_size(10_000, 1000)
# Without Loki: MiB of the buffer -> seconds, and whether lines are lost.
OUTAGES = choose_size({64: (60, False), 4: (20, True)}, {4: (2, False)})
LINES = choose_size(2000, 100)
HELD_S = choose_size(5, 1)
ATTEMPTS = 3

pytestmark = pytest.mark.timeout(400)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run_log_lines(*arguments: str, read_after_s: float = 0.0) -> dict[str, float]:
    """Run log_lines.py behind a pipe that is read at once or after `read_after_s`."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "log_lines.py"), *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if read_after_s:
        assert process.stderr is not None
        assert process.stderr.readline() == b"begun\n"
        time.sleep(read_after_s)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    found: dict[str, float] = json.loads(errors)
    return found


def test_a_line_costs_less_than_the_standard_library() -> None:
    for _ in range(ATTEMPTS):
        ours = run_log_lines("cost", "ours", str(LINES))
        stdlib = run_log_lines("cost", "stdlib", str(LINES))
        for name, one in (("ours", ours), ("standard library", stdlib)):
            print(f"\na line, {name}: {one['median_us']:.1f} us (best {one['best_us']:.1f})")
        if is_at_most(ours["median_us"], LINE_LIMIT_US):
            break
    assert is_at_most(ours["median_us"], LINE_LIMIT_US)


def test_a_stopped_reader_does_not_block_the_event_loop() -> None:
    for _ in range(ATTEMPTS):
        # nothing is read but in the last fifth of the time: the pipe is full after 0.03 s
        found = run_log_lines("hold", "5000", str(HELD_S), read_after_s=0.8 * HELD_S)
        lines = f"{found['written']:.0f} lines, {found['dropped']:.0f} of them dropped and counted"
        print(f"\nthe loop was blocked for {found['longest_ms']:.1f} ms at most, {lines}")
        if is_at_most(found["longest_ms"], STILL_LIMIT_MS):
            break
    assert is_at_most(found["longest_ms"], STILL_LIMIT_MS)
    assert is_at_least(found["dropped"], 1)
    assert found["dropped"] < found["written"]


@contextmanager
def run_loki(port: int, lines: list[int]) -> Iterator[None]:
    """Accept pushes and count their lines."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            streams: list[Mapping[str, Any]] = json.loads(body)["streams"]
            lines.append(sum(len(stream["values"]) for stream in streams))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log no requests."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("buffer_mib", OUTAGES)
def test_an_outage_of_loki_is_survived(buffer_mib: int) -> None:
    outage_s, loses = OUTAGES[buffer_mib]
    port, lines = find_free_port(), list[int]()
    command = [str(HERE / "loki_outage.py"), f"http://127.0.0.1:{port}"]
    numbers = map(str, (RATE, outage_s + 5, buffer_mib))
    process = subprocess.Popen(
        [sys.executable, "-u", *command, *numbers],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("loki_away")
    time.sleep(outage_s)
    with run_loki(port, lines):
        output, _ = process.communicate(timeout=120)
    found = json.loads(output.splitlines()[-1])
    print(f"\n{outage_s} s without Loki, {buffer_mib} MiB: {found['offered']} lines offered, "
          f"{found['dropped']} dropped, {found['more_mib']:.0f} MiB more memory, loop blocked for "
          f"{found['longest_ms']:.0f} ms at most")  # fmt: skip
    assert is_at_least(found["offered"], 0.95 * RATE * outage_s)
    assert found["sent"] + found["dropped"] == found["offered"]
    assert sum(lines) == found["sent"]
    assert (found["dropped"] > 0) is loses
    assert is_at_most(found["more_mib"], 2 * buffer_mib + 64)
