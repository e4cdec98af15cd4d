"""The drill with the real litestream and S3 server: what it proves, and what it must not pass."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from barnabee.backup import api_usage, consistent_copy, drill, drill_log, keys, litestream
from barnabee.backup.drill_log import Drill
from barnabee.backup.replica import Asked, Remote
from barnabee.core.errors import BackupFailed
from support.backup import cut, flip, folder, snapshot, with_backup
from support.replica import House, record, replicated_house
from support.wait import eventually


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with replicated_house(tmp_path, monkeypatch) as house:
        kit = keys.make_kit()
        house.system = with_backup(
            house.system,
            recovery_recipient=kit.recipient,
            offsite=f":local:{tmp_path / 'offsite'}",
        )
        yield house


async def ready(house: House, count: int = 200) -> None:
    await record(house, range(count))
    house.start_litestream()
    await house.replicated()
    snapshot(house)


async def drilled(house: House) -> Drill:
    return await drill.run(house.system, house.settings)


def last(house: House) -> Drill | None:
    connection = consistent_copy.connect(house.path, "ro")
    try:
        return drill_log.newest(connection)
    finally:
        connection.close()


def ltx(house: House, level: str = "*") -> list[Path]:
    return sorted(house.s3.directory.rglob(f"{level}/*.ltx"))


async def test_a_good_night_is_proven_and_written_down(house: House) -> None:
    await ready(house)
    asked = Asked()

    done = await drill.run(house.system, house.settings, asked=asked)

    assert (done.success, done.step, done.code) == (True, None, None), done
    assert done.rows >= 200
    assert done.txid > 0
    assert done.bytes > 100_000
    assert done.offsite
    assert last(house) == done
    assert 10 <= asked.c < 60
    assert not (house.settings.data_dir / drill.FOLDER).exists()
    drill.require_good(done)


async def test_it_compares_while_somebody_writes(house: House) -> None:
    await ready(house, 20)
    for number in range(3):
        await record(house, range(100 + number * 50, 150 + number * 50))
        done = await drilled(house)
        assert done.success, done
        assert done.rows >= 70 + number * 50


def flip_the_replica(house: House) -> None:
    for file in ltx(house):
        flip(file, 0.6)


def remove_from_the_replica(house: House) -> None:
    for file in [*ltx(house, "0009"), *ltx(house, "0001"), ltx(house, "0000")[1]]:
        file.unlink()
    house.s3.kill()  # it remembers what it listed
    house.s3.start()


def sealed(house: House) -> Path:
    [found] = Path(house.system.backup.offsite.removeprefix(":local:")).glob("*.age")
    return found


def change_the_key(house: House) -> None:
    (folder(house.settings) / keys.MACHINE_KEY).write_text(keys.make_kit().secret)


DAMAGE: dict[str, tuple[Callable[[House], None], str]] = {
    "flipped bits in the replica": (flip_the_replica, "replica: fetch"),
    "missing files in the replica": (remove_from_the_replica, "replica: fetch"),
    "flipped bit in the snapshot": (lambda house: flip(sealed(house)), "snapshot: fetch"),
    "snapshot cut short": (lambda house: cut(sealed(house)), "snapshot: fetch"),
    "wrong key": (change_the_key, "snapshot: fetch"),
    "no snapshot": (lambda house: sealed(house).unlink(), "snapshot: look"),
    "no litestream": (lambda house: house.stop_litestream(), "replica: look"),
}


@pytest.mark.parametrize(("damage", "step"), DAMAGE.values(), ids=DAMAGE.keys())
async def test_a_drill_that_must_fail_fails(
    house: House, damage: Callable[[House], None], step: str
) -> None:
    await ready(house)
    for number in range(3):
        await record(house, range(500 + number, 501 + number))
        await house.replicated()
    damage(house)

    await fails(house, step)


async def fails(house: House, step: str) -> None:
    done = await drilled(house)
    print(f"\n{done.step}: {done.reason} [{done.code}]")
    assert not done.success
    assert done.step == step, done
    assert done.reason
    assert last(house) == done
    with pytest.raises(BackupFailed, match=re.escape(step)):
        drill.require_good(done)
    assert not (house.settings.data_dir / drill.FOLDER).exists()


async def test_a_replica_that_lost_a_row_without_a_word_is_found(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ready(house)
    monkeypatch.setenv("BARNABEE_LITESTREAM", str(forgetful_litestream(tmp_path)))

    await fails(house, "replica: compare")


async def test_an_object_that_is_listed_and_gone_is_not_asked_for_for_ever(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ready(house)

    async def settled() -> bool:  # what is written later would be there
        return bool(ltx(house, "0009") and ltx(house, "0001"))

    await eventually(settled, within_s=30)
    for file in ltx(house):
        file.unlink()  # and the server still lists them
    monkeypatch.setattr(drill, "Remote", partial(Remote, stall_s=2.0))

    await fails(house, "replica: fetch")


def forgetful_litestream(directory: Path) -> Path:
    """Return a litestream whose restores are sound databases without their last turn."""
    program = directory / "forgetful"
    text = (Path(__file__).parents[1] / "support/forgetful_litestream.py").read_text()
    program.write_text(
        f"#!{sys.executable}\n{text}".replace("LITESTREAM", str(litestream.program()))
    )
    program.chmod(0o755)
    return program


async def test_the_calls_of_a_drill_are_counted(house: House) -> None:
    await ready(house, 5)
    asked = Asked()
    await drill.run(house.system, house.settings, asked=asked)

    ledger = api_usage.read(house.settings.data_dir)
    assert sum(day.c for day in ledger.days.values()) == asked.c > 0
    assert ledger.files[0] == len(ltx(house, "0000"))
