"""The gpu service of a VM test: the tests' own, which needs no model and no card."""

from __future__ import annotations

import os

import uvicorn

from barnabee.core import system
from barnabee.testing import gpu

if __name__ == "__main__":
    host, port = os.environ["BARNABEE_BIND"], system.load().port("gpu")
    uvicorn.run(gpu.service(), host=host, port=port, log_level="warning")
