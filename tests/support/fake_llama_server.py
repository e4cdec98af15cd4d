"""Fake of llama.cpp's server: a program with its options, Unix socket, health and chat routes.

The content of the model file is what it answers; with `broken` it does not start, with `refused`
it answers 500. A question is the path of a FIFO, which holds the second half of the answer back
until a test writes a line; `die`, which ends the program in the middle of the answer; or anything.
"""

from __future__ import annotations

import argparse
import json
import os
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Answers requests; the answer is in chunks, so that its end can be missed."""

    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:  # a Unix socket has none
        return "local"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = request["messages"][-1]["content"]
        answer = OPTIONS.model.read_text(encoding="utf-8")
        self.send_response(500 if answer == "refused" else 200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.write_event("first")
        if question == "die":
            os._exit(1)
        if question.startswith("/"):
            with Path(question).open("rb") as fifo:
                fifo.readline()
        self.write_event(answer)
        self.wfile.write(b"0\r\n\r\n")

    def write_event(self, text: str) -> None:
        event = f"data: {text}\n\n"
        self.wfile.write(f"{len(event):x}\r\n{event}\r\n".encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path)
    parser.add_argument("--host")
    OPTIONS, _ = parser.parse_known_args()
    if OPTIONS.model.read_text(encoding="utf-8") == "broken":
        sys.exit("error: this is no model")
    with socketserver.ThreadingUnixStreamServer(OPTIONS.host, Handler) as server:
        server.serve_forever()
