"""`barnabee standby status`."""

from __future__ import annotations

from typing import Any

from barnabee.cli.standby import describe_status
from barnabee.core import system

CONFIG = system.load_system().standby


def make_status(**changes: Any) -> dict[str, Any]:
    return {
        "host": "manofwar",
        "wish": "follow",
        "holder": "barnabee-core",
        "line": 1,
        "signs": ["follow"],
        "left_s": 0,
        "heard": True,
        "reason": "",
        "aside": False,
        "follow": {"line": 1, "txid": 9, "at": 0.0},
        "set_aside": [],
        **changes,
    }


def describe(**changes: Any) -> str:
    return "\n".join(describe_status(make_status(**changes), CONFIG))


def test_a_follower_reports_the_holder_and_its_copy() -> None:
    text = describe()
    assert "held by barnabee-core, epoch 1" in text
    assert "manofwar follows (desired role: follow)" in text
    assert "epoch 1, transaction 9" in text


def test_a_machine_without_the_lease_reports_why_writes_wait() -> None:
    text = describe(holder=None, signs=["serve"], heard=False, reason="no answer within 4 s")
    assert "held by no machine" in text
    assert "writes wait in the queue" in text
    assert "does not answer: no answer within 4 s" in text


def test_databases_set_aside_are_listed_with_their_unreplicated_rows() -> None:
    entry = {"folder": "/data/x", "unreplicated": {"turns": ["a", "b"]}}
    assert "2 turns that exist nowhere else" in describe(set_aside=[entry])
