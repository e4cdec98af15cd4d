"""Fake service for tests of the runner: answers /health/* and fails on request."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers every GET request with the same health report."""

    def do_GET(self) -> None:
        self.server.fault.wait()  # type: ignore[attr-defined]
        status = self.server.report["status"]  # type: ignore[attr-defined]
        body = json.dumps(self.server.report).encode()  # type: ignore[attr-defined]
        self.send_response(200 if status in {"healthy", "degraded"} else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log no requests."""


class Fault:
    """Keeps every request waiting once its trigger file exists: asleep, or computing if `busy`.

    Asleep it deletes the file, so that the next process answers. While it computes, as long as the
    file exists, it writes a word for each request into it.
    """

    def __init__(self, trigger: Path | None, *, busy: bool) -> None:
        self._trigger = trigger
        self._busy = busy
        self._is_asleep = False

    def wait(self) -> None:
        if self._trigger is None or not (self._is_asleep or self._trigger.exists()):
            return
        if not self._busy:
            self._is_asleep = True
            self._trigger.unlink(missing_ok=True)
            threading.Event().wait()
        with self._trigger.open("a") as file:
            file.write("probe ")
        while self._trigger.exists():
            pass


def log_event(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, "level": "info", **fields}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--gate", type=Path, help="listen when this file exists")
    parser.add_argument("--state", default="healthy")
    parser.add_argument("--fail", type=int, help="log an error, then exit with this status")
    parser.add_argument("--fail-without", type=Path, help="exit with 2 unless this file exists")
    parser.add_argument("--deadlock", type=Path, help="answer nothing once this file exists")
    parser.add_argument("--busy", type=Path, help="compute while this file exists")
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--hog-mib", type=int, default=0)
    parser.add_argument("--grandchildren", action="store_true", help="one of them in a new session")
    parser.add_argument("--forgetful", action="store_true", help="wipe the environment first")
    options = parser.parse_args()
    if options.forgetful:
        arguments = [argument for argument in sys.argv if argument != "--forgetful"]
        os.execve(sys.executable, [sys.executable, *arguments], {})  # noqa: S606 - no shell is meant
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if options.grandchildren:
        for detached in (False, True):
            command = [sys.executable, "-c", "import time; time.sleep(600)"]
            subprocess.Popen(command, start_new_session=detached)
    if options.fail is not None:
        log_event("my last words", level="error")
        return options.fail
    if options.fail_without is not None and not options.fail_without.exists():
        return 2
    while options.gate is not None and not options.gate.exists():
        time.sleep(0.02)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.report = {"status": options.state, "dependencies": {}}  # type: ignore[attr-defined]
    trigger = options.deadlock or options.busy
    server.fault = Fault(trigger, busy=options.busy is not None)  # type: ignore[attr-defined]
    log_event("listening")
    hog = b"x" * (options.hog_mib * 1024 * 1024)
    server.serve_forever(poll_interval=0.05)
    return len(hog)


if __name__ == "__main__":
    sys.exit(main())
