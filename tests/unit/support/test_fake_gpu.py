"""The fake GPU client and the fake GPU service."""

from __future__ import annotations

import numpy as np
import pytest

from barnabee.clients.gpu import GpuClient
from barnabee.core.errors import DependencyDown
from support import fake_engines
from support.asgi_server import serve_app
from support.fake_engines import FakeGpuClient, make_vector


def test_a_vector_has_length_1_and_depends_on_the_words() -> None:
    light, lights, weather = map(make_vector, ("the light", "The light!", "rain tomorrow"))
    assert np.linalg.norm(light) == pytest.approx(1)
    np.testing.assert_array_equal(light, lights)
    assert abs(float(light @ weather)) < 0.3


async def test_a_client_that_is_down_raises() -> None:
    fake = FakeGpuClient()
    assert (await fake.embed(["a", "b"])).shape == (2, 384)
    fake.is_down = True
    with pytest.raises(DependencyDown):
        await fake.embed(["a"])


async def test_the_real_client_works_with_the_fake_service() -> None:
    async with serve_app(fake_engines.make_gpu_app()) as url:
        client = GpuClient(url, "any")
        rows = await client.embed(["the light", "rain tomorrow"])
        assert await client.ready() is None
        await client.aclose()
    np.testing.assert_allclose(
        rows, [make_vector("the light"), make_vector("rain tomorrow")], atol=1e-6
    )
