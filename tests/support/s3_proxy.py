"""Fault-injecting proxy in front of an S3 server.

One request per connection, so that a new fault applies to the next one. Runs on its own threads.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from support.wait import find_free_port

Mode = Literal[
    *("pass", "refuse", "reset", "silent", "slow", "starting"),
    *("error", "flaky", "busy", "throttled", "full"),
    *("revoked", "revoked_midway", "capped", "skewed", "no_bucket"),
    *("hidden", "stale_list", "stale_object", "truncated", "flipped"),
    "random",
]
CHUNK = 64 * 1024
REMEMBERED_MAX_BYTES = 64 * 1024
# What may be over at the next request; a `random` proxy does one of them for half of the requests.
TRANSIENT: tuple[Mode, ...] = (
    *("refuse", "reset", "silent", "slow", "error", "busy", "throttled", "full"),
    *("revoked", "capped", "skewed", "no_bucket", "hidden", "truncated", "flipped"),
)
SILENT_S = 1.0  # of a `random` proxy
MAX_SKEW = timedelta(minutes=15)  # as S3's
_NO_LINGER = struct.pack("ii", 1, 0)  # close with a reset
# Status, S3 error code, and the methods that get them: all, or those that change or read an object.
_ANSWERS: dict[str, tuple[int, str, Literal["all", "write", "read"]]] = {
    "error": (500, "InternalError", "all"),
    "busy": (503, "SlowDown", "all"),
    "throttled": (429, "TooManyRequests", "all"),
    "full": (507, "InsufficientStorage", "write"),
    "revoked": (403, "InvalidAccessKeyId", "all"),
    "capped": (403, "AccessDenied", "read"),
    "no_bucket": (404, "NoSuchBucket", "all"),
}


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    head: bytes
    body: bytes

    @property
    def is_write(self) -> bool:
        return self.method in {"PUT", "POST", "DELETE"}

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and "prefix=" in self.path

    @property
    def is_read(self) -> bool:
        """Whether it reads an object."""
        return self.method in {"GET", "HEAD"} and self.path.strip("/").count("/") > 0


@dataclass
class S3Proxy:
    """Proxy on its own port in front of `target_port`, with HTTPS when `tls` is set.

    `hide` matches the keys that the modes `hidden` and `stale_list` are about; `clock` is the
    store's, for `skewed`.
    """

    target_port: int
    port: int = field(default_factory=find_free_port)
    mode: Mode = "pass"
    slow_s: float = 0.5
    hide: str = ""
    failures_left: int = 5  # for `starting`
    faults: int = 0  # that a `random` proxy has injected
    clock: Callable[[], datetime] = lambda: datetime.now(UTC) + timedelta(hours=1)
    tls: ssl.SSLContext | None = None
    _server: socketserver.ThreadingTCPServer | None = None
    _random: random.Random = field(default_factory=lambda: random.Random(19))  # noqa: S311
    _versions: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{'https://localhost' if self.tls else 'http://127.0.0.1'}:{self.port}"

    def start(self) -> None:
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def setup(self) -> None:
                if proxy.tls is not None:
                    self.request = proxy.tls.wrap_socket(self.request, server_side=True)
                super().setup()

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    proxy._handle(self)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                """Print nothing: the client has refused the certificate."""

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
        mode = self._choose_mode()
        if self._breaks_connection(handler, mode):
            return
        if re.search(rb"(?im)^expect: *100-continue\r\n", head):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = re.sub(rb"(?im)^expect:.*\r\n", b"", head)
        method, path = head.split(b" ", 2)[:2]
        found = re.search(rb"(?im)^content-length: *(\d+)", head)
        length = int(found[1]) if found else 0
        if mode == "revoked_midway" and length:
            handler.rfile.read(length // 2)
            self.mode = "revoked"
        else:
            body = handler.rfile.read(length)
            request = _Request(method.decode(), path.decode(), head, body)
            if not (refusal := self._refuse(request, mode)):
                self._forward(request, handler, mode)
                return
            handler.wfile.write(refusal)
            return
        handler.wfile.write(_error(*_ANSWERS["revoked"][:2]))

    def _choose_mode(self) -> Mode:
        if self.mode != "random":
            return self.mode
        if self._random.random() < 0.5:  # half of the requests
            return "pass"
        self.faults += 1
        return self._random.choice(TRANSIENT)

    def _breaks_connection(self, handler: socketserver.StreamRequestHandler, mode: Mode) -> bool:
        if mode == "starting" and self.failures_left > 0:
            self.failures_left -= 1
            return True
        if mode == "reset":
            handler.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        if mode == "silent" and self.mode == "random":
            time.sleep(SILENT_S)
        while self.mode == mode == "silent":
            time.sleep(0.1)
        if mode == "slow":
            time.sleep(self.slow_s)
        return mode in {"refuse", "reset", "silent"}

    def _refuse(self, request: _Request, mode: Mode) -> bytes:
        """Return the error that answers the request; empty when it is forwarded."""
        if mode == "flaky":
            mode = "error" if self._random.random() < 0.3 else "pass"  # 30 %
        if mode == "skewed":
            sent = re.search(rb"(?im)^x-amz-date: *(\w+)", request.head)
            at = datetime.strptime(
                (sent[1] if sent else b"").decode() + "+0000", "%Y%m%dT%H%M%SZ%z"
            )
            return _error(403, "RequestTimeTooSkewed") if self._skew(at) > MAX_SKEW else b""
        if mode == "hidden" and request.is_read and re.search(self.hide, request.path):
            return _error(404, "NoSuchKey")
        status, code, which = _ANSWERS.get(mode, (0, "", "all"))
        applies = {
            "all": True,
            "write": request.is_write,
            "read": request.is_read and not request.is_list,
        }
        return _error(status, code) if status and applies[which] else b""

    def _skew(self, at: datetime) -> timedelta:
        return abs(self.clock() - at)

    def _forward(
        self, request: _Request, handler: socketserver.StreamRequestHandler, mode: Mode
    ) -> None:
        head = re.sub(rb"(?im)^connection:.*\r\n", b"", request.head)
        head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        if request.method == "PUT" and len(request.body) <= REMEMBERED_MAX_BYTES:
            _, before = self._versions.get(request.path, (request.body, request.body))
            self._versions[request.path] = (before, request.body)
        changes = mode in {"truncated", "flipped", "stale_list", "stale_object"}
        if changes:  # without chunks
            head = head.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
        with socket.create_connection(("127.0.0.1", self.target_port), timeout=30) as server:
            server.sendall(head + request.body)
            if not changes or request.is_write:
                while chunk := server.recv(CHUNK):
                    handler.wfile.write(chunk)
                return
            answer = b""
            while chunk := server.recv(CHUNK):
                answer += chunk
        handler.wfile.write(self._change(request, answer, mode))

    def _change(self, request: _Request, answer: bytes, mode: Mode) -> bytes:
        head, _, body = answer.partition(b"\r\n\r\n")
        if mode == "stale_list" and request.is_list:
            entries = re.findall(rb"<Contents>.*?</Contents>", body, re.DOTALL)
            for entry in entries:
                if re.search(self.hide.encode(), entry):
                    body = body.replace(entry, b"")
        elif request.is_list or request.method != "GET" or not body:
            return answer
        elif mode == "stale_object" and request.path in self._versions:
            body = self._versions[request.path][0]
        elif mode == "truncated":
            return head + b"\r\n\r\n" + body[: len(body) // 2]
        elif mode == "flipped":
            at = len(body) // 2
            return head + b"\r\n\r\n" + body[:at] + bytes([body[at] ^ 0x40]) + body[at + 1 :]
        head = re.sub(rb"(?im)^content-length:.*\r\n", b"", head + b"\r\n")
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _error(status: int, code: str) -> bytes:
    text = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
    return (
        f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}"
    ).encode()
