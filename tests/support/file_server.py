"""HTTP file server that truncates, refuses or ignores ranges on request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Files by path; records every request with its Range header."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)  # bytes, for the next responses
    statuses: list[int] = field(default_factory=list)  # for the next responses
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    port: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def run_file_server() -> Iterator[FileServer]:
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.requests.append((self.path, wanted))
            content = state.files.get(self.path)
            status = state.statuses.pop(0) if state.statuses else (200 if content else 404)
            if status != 200 or content is None:
                self._answer(status, b"no")
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if not wanted or not state.ranges:
                self._answer(200, content)
            elif start >= len(content):
                self._answer(416, b"")
            else:
                self._answer(206, content[start:])

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if status < 300 and state.cut_after:
                content = content[: state.cut_after.pop(0)]
                self.close_connection = True
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
