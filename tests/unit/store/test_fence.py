"""Without a permit that has not run out, nothing is written where there is a stand-by."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core.errors import NotTheHolder
from barnabee.core.health import Degraded
from barnabee.store import fence
from barnabee.store.conversations import Conversations
from barnabee.store.provider import Keeper
from support.turns import make_turn


def permit(until_ns: int) -> fence.Permit:
    return fence.Permit("barnabee-core", 1, until_ns)


def test_a_house_without_a_stand_by_asks_nobody() -> None:
    fence.fence("")()


def test_a_permit_is_good_until_its_moment(tmp_path: Path) -> None:
    fence.write(tmp_path, permit(100))
    fence.require(tmp_path, lambda: 99)
    with pytest.raises(NotTheHolder, match="run out"):
        fence.require(tmp_path, lambda: 100)
    fence.withdraw(tmp_path)
    with pytest.raises(NotTheHolder, match="does not hold"):
        fence.require(tmp_path, lambda: 0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "a"}', '{"until_ns": 1}'])
def test_a_permit_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / fence.FILE).write_text(text)
    with pytest.raises(NotTheHolder):
        fence.require(tmp_path)


async def test_a_transaction_that_outlasts_its_permit_is_taken_back(tmp_path: Path) -> None:
    lease = tmp_path / "lease"
    lease.mkdir()
    fence.write(lease, permit(fence.now_ns() + 10**12))
    keeper = Keeper(tmp_path / "barnabee.db", lease_dir=str(lease))
    database = await keeper.database()
    turns = Conversations(database)
    await turns.record(make_turn(1))

    def slow(connection: object) -> None:
        connection.execute("DELETE FROM turns")  # type: ignore[attr-defined]
        fence.withdraw(lease)

    with pytest.raises(NotTheHolder):
        await database.write(slow)
    assert len(await turns.turns(limit=5)) == 1
    assert isinstance(await keeper.check(), Degraded)
    fence.write(lease, permit(fence.now_ns() + 10**12))
    assert await keeper.check() is None
    await keeper.close()


async def test_a_service_starts_without_a_permit_and_migrates_nothing(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "barnabee.db", lease_dir=str(tmp_path / "nowhere"))
    keeper.start()
    assert not (tmp_path / "barnabee.db").exists()
    with pytest.raises(NotTheHolder):
        await keeper.database()
