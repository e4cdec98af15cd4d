"""A fixture that starts the inference service with stand-ins for its engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from support.gpu_app import ServiceStarter


@pytest.fixture
async def start() -> AsyncIterator[ServiceStarter]:
    async with AsyncExitStack() as stack:
        yield ServiceStarter(stack)
