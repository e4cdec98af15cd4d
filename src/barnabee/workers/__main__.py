"""Runs the worker: `python -m barnabee.workers`."""

from __future__ import annotations

from barnabee.core import serve
from barnabee.workers.app import build_worker

if __name__ == "__main__":
    serve.run_service("worker", build_worker)
