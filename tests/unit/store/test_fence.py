"""Write fence: without a valid permit nothing is written where there is a standby machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core.errors import LeaseNotHeld
from barnabee.core.health import Degraded
from barnabee.store import fence
from barnabee.store.conversations import Conversations
from barnabee.store.provider import DatabaseProvider
from support.turn_records import make_turn


def permit(until_ns: int) -> fence.WritePermit:
    return fence.WritePermit("barnabee-core", 1, until_ns)


def test_without_a_lease_directory_every_write_is_allowed() -> None:
    fence.make_fence("")()


def test_a_permit_is_valid_until_it_expires(tmp_path: Path) -> None:
    fence.grant_permit(tmp_path, permit(100))
    fence.require_permit(tmp_path, lambda: 99)
    with pytest.raises(LeaseNotHeld, match="run out"):
        fence.require_permit(tmp_path, lambda: 100)
    fence.revoke_permit(tmp_path)
    with pytest.raises(LeaseNotHeld, match="does not hold"):
        fence.require_permit(tmp_path, lambda: 0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "a"}', '{"until_ns": 1}'])
def test_an_unreadable_permit_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / fence.PERMIT_FILE).write_text(text)
    with pytest.raises(LeaseNotHeld):
        fence.require_permit(tmp_path)


async def test_a_transaction_that_outlasts_its_permit_is_rolled_back(tmp_path: Path) -> None:
    lease = tmp_path / "lease"
    lease.mkdir()
    fence.grant_permit(lease, permit(fence.boot_time_ns() + 10**12))
    provider = DatabaseProvider(
        tmp_path / "barnabee.db", lease_dir=str(lease), before_migration=None
    )
    database = await provider.database()
    turns = Conversations(database)
    await turns.record(make_turn(1))

    def delete_and_lose_permit(connection: object) -> None:
        connection.execute("DELETE FROM turns")  # type: ignore[attr-defined]
        fence.revoke_permit(lease)

    with pytest.raises(LeaseNotHeld):
        await database.write(delete_and_lose_permit)
    assert len(await turns.list_turns(limit=5)) == 1
    assert isinstance(await provider.check(), Degraded)
    fence.grant_permit(lease, permit(fence.boot_time_ns() + 10**12))
    assert await provider.check() is None
    await provider.close()


async def test_prepare_without_a_permit_creates_no_database(tmp_path: Path) -> None:
    provider = DatabaseProvider(
        tmp_path / "barnabee.db", lease_dir=str(tmp_path / "nowhere"), before_migration=None
    )
    provider.prepare()
    assert not (tmp_path / "barnabee.db").exists()
    with pytest.raises(LeaseNotHeld):
        await provider.database()
