"""ClickHouse's HTTP interface over chDB, as much of it as qryn asks for; knows nothing of logs.

Runs in the environment of requirements/logql.txt: `python bridge.py PORT DIRECTORY`. One query at a
time. Real ClickHouse inside; what this file adds is the way in.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from chdb import session

_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_INSERT = re.compile(r"^\s*INSERT\s", re.IGNORECASE)
# ClickHouse's own answer over HTTP quotes 64-bit integers; times in nanoseconds need it.
_SETTINGS = "SET output_format_json_quote_64bit_integers = 1"


class Database:
    """One ClickHouse in this process."""

    def __init__(self, directory: str) -> None:
        self._session = session.Session(directory)
        self._lock = threading.Lock()
        self._session.query(_SETTINGS)

    def answer(self, sql: str, database: str | None) -> bytes:
        """Run `sql` and return what it gives in the format that it names."""
        named = _FORMAT.search(sql)
        if named and not _INSERT.match(sql):
            sql = sql[: named.start()]
        with self._lock:
            if database:
                self._session.query(f"USE `{database}`")
            try:
                found = self._session.query(sql, named[1] if named else "TabSeparated")
            finally:
                if database:
                    self._session.query("USE default")
        return bytes(found.bytes() or b"") if found is not None else b""


def make_handler(database: Database) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - a class in it
    """Return what answers requests out of `database`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._run(b"")

        def do_POST(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                self._run(b"".join(self._chunks()))
            else:
                self._run(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def _chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def _run(self, body: bytes) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            sql = asked.get("query", [""])[0]
            whole = f"{sql}\n{body.decode()}" if sql else body.decode()
            if not whole.strip():
                self._send(200, b"Ok.\n")
                return
            try:
                self._send(200, database.answer(whole, asked.get("database", [None])[0]))
            except Exception as error:  # noqa: BLE001 - ClickHouse's own words go to who asked
                sys.stderr.write(f"{whole[:2000]}\n  {error}\n")
                self._send(500, f"{error}\n".encode())

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing of requests."""

    return Handler


def main() -> None:
    port, directory = int(sys.argv[1]), sys.argv[2]
    ThreadingHTTPServer(("127.0.0.1", port), make_handler(Database(directory))).serve_forever()


if __name__ == "__main__":
    main()
