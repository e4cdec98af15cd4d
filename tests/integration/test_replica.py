"""The real litestream and a real S3 server: what was replicated comes back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from barnabee.backup import litestream
from barnabee.backup.cold_start import Outcome
from barnabee.core.health import Check, Degraded, Health, State
from barnabee.core.metrics import Metrics
from support.replica import House, expected, record, replicated_house, restored, rows
from support.wait import eventually


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with replicated_house(tmp_path, monkeypatch) as house:
        yield house


async def test_what_was_replicated_comes_back_after_the_disk_is_lost(house: House) -> None:
    await record(house, range(50))
    house.start_litestream()
    await house.replicated()
    house.stop_litestream(signal.SIGKILL)
    house.lose_everything()

    assert await restored(house) is Outcome.RESTORED

    assert await rows(house) == expected(range(50))
    assert not list(house.path.parent.glob("*restoring*"))
    # api, worker and litestream are users of one group
    assert house.path.stat().st_mode & 0o777 == 0o660


async def test_a_restored_database_is_replicated_on_and_comes_back_again(house: House) -> None:
    for generation in range(3):
        await record(house, range(generation * 20, generation * 20 + 20))
        house.start_litestream()
        await house.replicated()
        house.stop_litestream()
        house.lose_everything()

        assert await restored(house) is Outcome.RESTORED
        assert await rows(house) == expected(range(generation * 20 + 20))


async def test_rows_written_while_s3_was_away_reach_it_when_it_is_back(house: House) -> None:
    await record(house, range(10))
    house.start_litestream()
    await house.replicated()
    house.s3.kill()
    await record(house, range(10, 30))
    assert (await litestream.lag(house.socket, house.path)).txids > 0

    house.s3.start()
    await house.replicated()
    house.stop_litestream(signal.SIGKILL)
    house.lose_everything()
    assert await restored(house) is Outcome.RESTORED
    assert await rows(house) == expected(range(30))


async def test_a_database_that_is_there_is_left_alone_and_nobody_is_asked(house: House) -> None:
    await record(house, range(3))
    house.s3.kill()

    assert await restored(house) is Outcome.PRESENT
    assert await rows(house) == expected(range(3))


async def test_an_empty_replica_is_a_fresh_start(house: House) -> None:
    assert await restored(house) is Outcome.EMPTY
    assert not house.path.exists()


async def test_an_empty_file_counts_as_no_database(house: House) -> None:
    await record(house, range(5))
    house.start_litestream()
    await house.replicated()
    house.stop_litestream()
    house.lose_everything()
    house.path.touch()

    assert await restored(house) is Outcome.RESTORED
    assert await rows(house) == expected(range(5))


async def test_a_log_left_beside_a_missing_database_does_not_spoil_the_restored_one(
    house: House,
) -> None:
    await record(house, range(5))
    house.start_litestream()
    await house.replicated()
    house.stop_litestream()
    leftover = b"a log that belongs to nothing any more" * 100
    house.path.unlink()
    (house.path.parent / "barnabee.db-wal").write_bytes(leftover)

    assert await restored(house) is Outcome.RESTORED

    assert await rows(house) == expected(range(5))
    kept = list(house.path.parent.glob("*.before-restore-*/barnabee.db-wal"))
    assert [one.read_bytes() for one in kept] == [leftover]


async def test_the_replicas_state_is_told_in_health(house: House) -> None:
    await record(house, range(3))

    async def probe() -> Degraded | None:
        return await litestream.replica_health(house.socket, house.path, allowed_txids=0)

    health = Health("api", [Check("replica", probe, hard=False)], Metrics("api"))

    async def state() -> State:
        return (await health.report(max_age_s=0)).state

    def becomes(wanted: State) -> Callable[[], object]:
        async def ask() -> bool:
            return await state() == wanted

        return ask

    assert await state() == State.DEGRADED  # litestream does not run yet
    assert health.last.findings["replica"].code == "dependency_down"
    house.start_litestream()
    await eventually(becomes(State.HEALTHY), within_s=20)  # type: ignore[arg-type]
    house.s3.kill()
    await record(house, range(3, 5))
    await eventually(becomes(State.DEGRADED), within_s=5)  # type: ignore[arg-type]
    house.s3.start()
    await eventually(becomes(State.HEALTHY), within_s=20)  # type: ignore[arg-type]


async def test_litestream_understood_the_configuration(house: House) -> None:
    await record(house, range(3))
    house.start_litestream()
    await house.replicated()

    log = house.log.read_text()
    assert f'"bucket":"{house.system.replica.bucket}"' in log
    assert f'"endpoint":"{house.s3.url}"' in log
    assert f'"level":9,"interval":{house.system.replica.snapshot_interval_h * 3600 * 10**9}' in log
    validation_ns = house.system.replica.validation_interval_h * 3600 * 10**9
    assert f'"starting validation monitor","system":"store","interval":{validation_ns}' in log
    async with httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{house.system.port('litestream')}/metrics"
        assert "litestream_txid" in (await client.get(url)).text
    assert (house.socket.stat().st_mode & 0o777) == litestream.SOCKET_MODE
    house.stop_litestream()  # within its time
