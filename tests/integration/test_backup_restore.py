"""Restores with the real litestream and S3 server: the right moment, or nothing changed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from barnabee.backup import (
    checksums,
    cold_start,
    keys,
    litestream,
    recovery_kit_test,
    restore,
    restore_points,
    restore_sources,
)
from barnabee.backup.restore_sources import Source
from barnabee.core.errors import BackupDamaged, BackupFailed, BadInput, BadRequest, NotFound
from barnabee.store import database_files
from support.backup import content_of, flip, folder, snapshot, with_backup
from support.replica import House, expected, record, replicated_house, restored, rows


@pytest.fixture
def kit() -> keys.Kit:
    return keys.make_kit()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kit: keys.Kit) -> Iterator[House]:
    with replicated_house(tmp_path, monkeypatch) as house:
        house.system = with_backup(
            house.system,
            recovery_recipient=kit.recipient,
            offsite=f":local:{tmp_path / 'offsite'}",
        )
        yield house


@dataclass
class Writers:
    """Whoever writes: notes when he was stopped and started."""

    house: House
    story: list[str] = field(default_factory=list)

    async def stop(self) -> None:
        self.story.append("stop")
        self.house.stop_litestream()

    async def start(self) -> None:
        self.story.append("start")
        self.house.start_litestream()


async def put_back(house: House, source: Source, **options: bool) -> restore.Restored:
    steps: list[str] = []
    writers = Writers(house)

    def tell(step: str, _done: int, _all: int) -> None:
        if steps[-1:] != [step]:
            steps.append(step)

    try:
        chosen = {"force": True, **options}
        return await restore.in_place(house.path, source, writers, tell, **chosen)
    finally:
        assert writers.story == ["stop", "start"]
        assert steps[-1] == "start"
        assert not list(house.path.parent.glob(".*restoring*"))


async def written(house: House, numbers: range) -> litestream.Lag:
    await record(house, numbers)
    return await house.replicated()


async def test_a_restore_to_a_transaction_and_on_from_there(house: House) -> None:
    house.start_litestream()
    before = await written(house, range(20))
    kept = content_of(house.path)
    await written(house, range(20, 60))

    source = await restore_sources.from_replica(
        house.system, house.settings, txid=before.local_txid
    )
    done = await put_back(house, source)

    assert content_of(house.path) == kept
    assert "turns: -40 rows" in done.notes
    assert done.aside is not None
    assert len(list(done.aside.iterdir())) >= 2
    after = await written(house, range(100, 120))
    assert after.local_txid > before.local_txid
    final = content_of(house.path)
    house.stop_litestream()
    house.lose_everything()
    assert await restored(house) is cold_start.Outcome.RESTORED
    assert content_of(house.path) == final


async def test_a_transaction_that_cannot_be_restored_is_told_with_its_neighbours(
    house: House,
) -> None:
    house.start_litestream()
    lag = await written(house, range(5))

    with pytest.raises(BadRequest, match=rf"nearest: {lag.local_txid}\b"):
        await restore_sources.from_replica(house.system, house.settings, txid=lag.local_txid + 500)
    with pytest.raises(BadRequest, match="2026-01-31T18:00:00Z"):
        await restore_sources.from_replica(house.system, house.settings, at="yesterday")


@pytest.mark.parametrize("step", ["fetch", "check", "compare", "open", "swap"])
async def test_a_failure_leaves_the_old_state_and_names_its_step(
    house: House, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(house, range(30))
    house.start_litestream()
    await house.replicated()
    snapshot(house)
    source = restore_sources.from_snapshot(house.system, house.settings)
    before = content_of(house.path)

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "fetch":
        flip(folder(house.settings) / source.snapshot.file)
    elif step == "check":
        monkeypatch.setattr(restore.sound, "check", fail)
    elif step == "compare":
        monkeypatch.setattr(checksums, "differences", lambda _one, _other: ["not the same"])
    elif step == "open":
        monkeypatch.setattr(restore.sound, "open_with_application", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)

    with pytest.raises(BackupFailed) as failure:
        await put_back(house, source)

    assert failure.value.fields["step"] == step
    assert failure.value.fields["reason"]
    monkeypatch.undo()
    assert content_of(house.path) == before
    assert not list(house.path.parent.glob("*before-restore*"))


async def test_a_snapshot_comes_back_from_elsewhere_with_the_kit_alone(
    house: House, kit: keys.Kit
) -> None:
    await record(house, range(30))
    house.start_litestream()
    await house.replicated()
    snapshot(house)
    before = content_of(house.path)
    house.stop_litestream()
    house.lose_everything()

    source = restore_sources.from_snapshot(
        house.system, house.settings, identity=keys.identity(kit.secret.lower())
    )
    assert source.elsewhere is not None
    await restore.in_place(house.path, source, restore.Nobody(), restore.quiet, force=False)
    assert content_of(house.path) == before


async def test_a_copy_is_written_elsewhere_and_the_house_is_left_alone(
    house: House, tmp_path: Path
) -> None:
    house.start_litestream()
    await written(house, range(10))
    source = await restore_sources.from_replica(house.system, house.settings)
    assert len(source.describe()) >= 1

    done = await restore.elsewhere(tmp_path / "look.db", source, restore.quiet)

    assert content_of(tmp_path / "look.db") == content_of(house.path)
    assert done.aside is None
    with pytest.raises(BadRequest, match="there already"):
        await restore.elsewhere(tmp_path / "look.db", source, restore.quiet)
    house.stop_litestream()


async def test_a_pin_is_returned_to(house: House) -> None:
    house.start_litestream()
    await written(house, range(10))
    ask = litestream.txid_asker(house.settings)
    pin = restore_points.pin(house.path, "before the experiment", ask)
    before = content_of(house.path)
    await written(house, range(10, 40))

    await put_back(house, restore_sources.from_pin(house.settings, pin), migrate=False)

    assert pin.txid > 0
    assert content_of(house.path) == before
    shutil.rmtree(house.path.parent / restore_points.FOLDER)
    with pytest.raises(NotFound, match=f"--txid {pin.txid}"):
        restore_sources.from_pin(house.settings, pin)
    house.stop_litestream()


async def test_the_kit_is_rehearsed_and_another_key_is_not_enough(
    house: House, kit: keys.Kit
) -> None:
    await record(house, range(10))
    snapshot(house)

    def rehearse(secret: str) -> recovery_kit_test.Rehearsed:
        identity = keys.identity(f"BarnabeeNet recovery kit\n\n   {secret}\n")
        source = restore_sources.from_snapshot(house.system, house.settings, identity=identity)
        assert source.identities == [identity]
        return recovery_kit_test.prove(source, house.settings, restore.quiet)

    assert (await asyncio.to_thread(rehearse, kit.secret)).rows == 13
    with pytest.raises(BackupFailed, match="cannot be opened with this key"):
        await asyncio.to_thread(rehearse, keys.make_kit().secret)
    with pytest.raises(BadInput, match="a letter is wrong"):
        keys.identity(kit.secret[:-1] + "B")
    with pytest.raises(BadInput, match="AGE-SECRET-KEY-1"):
        keys.identity("the wrong paper")
    assert not (house.settings.data_dir / recovery_kit_test.SCRATCH).exists()


async def test_a_cold_start_takes_the_snapshot_when_the_replica_is_damaged(
    house: House, tmp_path: Path
) -> None:
    await record(house, range(300))
    house.start_litestream()
    await house.replicated()
    snapshot(house)
    before = content_of(house.path)
    house.stop_litestream()
    for file in house.s3.directory.rglob("*.ltx"):
        flip(file, 0.5, 40)
    key = (folder(house.settings) / keys.MACHINE_KEY).read_text()
    house.lose_everything()

    with pytest.raises(BackupDamaged, match="no key on this machine"):
        await restored(house, budget_s=20)
    assert not database_files.taken(house.path)

    (tmp_path / "credentials" / keys.SNAPSHOT_KEY).write_text(key)
    assert await restored(house, budget_s=20) is cold_start.Outcome.SNAPSHOT
    assert content_of(house.path) == before
    told = restore.last(house.path)
    assert told is not None
    assert "snapshot" in str(told["source"])
    house.start_litestream()  # and the replica is whole again from here on
    await written(house, range(300, 310))
    final = content_of(house.path)
    house.stop_litestream()
    house.lose_everything()
    assert await restored(house) is cold_start.Outcome.RESTORED
    assert content_of(house.path) == final
    assert len(await rows(house)) == len(expected(range(310)))


async def test_an_empty_replica_is_no_fresh_start_when_there_are_snapshots(
    house: House, tmp_path: Path
) -> None:
    await record(house, range(10))
    snapshot(house)
    key = (folder(house.settings) / keys.MACHINE_KEY).read_text()
    (tmp_path / "credentials" / keys.SNAPSHOT_KEY).write_text(key)
    before = content_of(house.path)
    house.lose_everything()

    assert await restored(house) is cold_start.Outcome.SNAPSHOT
    assert content_of(house.path) == before
