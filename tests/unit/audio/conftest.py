"""A fixture that decodes files without an event loop of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from barnabee.audio.decode import AudioDecoder
from barnabee.audio.wav import Wav


@pytest.fixture(scope="session")
def decode_file() -> Iterator[Callable[..., Wav]]:
    """Yield `decode_file(content, max_s=60)`."""
    decoders: dict[int, AudioDecoder] = {}
    with asyncio.Runner() as runner:

        def decode(content: bytes, max_s: int = 60) -> Wav:
            decoder = decoders.setdefault(max_s, AudioDecoder(max_s=max_s))
            return runner.run(decoder.decode(content))

        yield decode
        for decoder in decoders.values():
            runner.run(decoder.aclose())
