"""Fault-injecting proxy in front of an S3 server.

One request per connection, so that a new mode applies to the next one. Runs on its own threads.
"""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from support.wait import find_free_port

Mode = Literal["pass", "refuse", "error", "full", "slow"]
CHUNK = 64 * 1024


@dataclass
class S3Proxy:
    """Proxy on its own port in front of `target_port`."""

    target_port: int
    port: int = field(default_factory=find_free_port)
    mode: Mode = "pass"
    slow_s: float = 0.5
    _server: socketserver.ThreadingTCPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    proxy._handle(self)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handle(self, handler: socketserver.StreamRequestHandler) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = handler.rfile.readline()
            if not line:
                return
            head += line
        if self.mode == "refuse":
            return
        if re.search(rb"(?im)^expect: *100-continue\r\n", head):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = re.sub(rb"(?im)^expect:.*\r\n", b"", head)
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        body = handler.rfile.read(int(length[1])) if length else b""
        if self.mode == "slow":
            time.sleep(self.slow_s)
        if self.mode == "error" or (self.mode == "full" and head.startswith(b"PUT ")):
            status, code = ("500", "InternalError") if self.mode == "error" else ("507", "Full")
            text = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
            handler.wfile.write(
                f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\n"
                f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()
            )
            return
        head = re.sub(rb"(?im)^connection:.*\r\n", b"", head)
        head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        with socket.create_connection(("127.0.0.1", self.target_port), timeout=30) as server:
            server.sendall(head + body)
            while chunk := server.recv(CHUNK):
                handler.wfile.write(chunk)
