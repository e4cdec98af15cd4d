"""Replication of Redis: the role that a server reports."""

from __future__ import annotations

from typing import Any

import pytest

from barnabee.standby.replication import RedisAddress, parse_redis_role


@pytest.mark.parametrize(
    ("response", "master"),
    [
        ([b"master", 0, []], None),
        ([b"slave", b"10.77.0.12", 6379, b"connected", 9], ("10.77.0.12", 6379)),
        ([], None),
    ],
)
def test_the_master_of_a_redis_replica(response: list[Any], master: RedisAddress | None) -> None:
    assert parse_redis_role(response) == master
