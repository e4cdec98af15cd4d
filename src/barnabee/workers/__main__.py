"""Runs the worker: `python -m barnabee.workers`."""

from __future__ import annotations

from barnabee.core import serve
from barnabee.workers.app import build

if __name__ == "__main__":
    serve.run("worker", build)
