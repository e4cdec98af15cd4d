"""`barnabee accept` on a real house: met when all is well, and each row red for its own reason."""

from __future__ import annotations

import json
import signal
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from support.whole_house import WholeHouse

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
ALERT = "test alert"
# the voice path is not tried aloud, which takes all cores for seconds
QUIET = {"probe": {"every_s": 0}}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeHouse]:
    found = WholeHouse(tmp_path_factory.mktemp("accept"), demo_home=False, tables=QUIET)
    try:
        found.up()
        yield found
    finally:
        found.clean()


def accept(house: WholeHouse, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status and the rows by criterion."""
    done = house.cli("accept", "--json", *arguments)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["accepted"] is (done.returncode == 0)
    return done.returncode, {row["criterion"]: row for row in told["criteria"]}


def failed(rows: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, row in rows.items() if row["verdict"] == "failed"}


@contextmanager
def stopped(house: WholeHouse, name: str) -> Iterator[None]:
    """Hold a service still: it neither dies nor answers, for less than its watchdog waits."""
    house.kill(name, signal.SIGSTOP)
    try:
        yield
    finally:
        house.kill(name, signal.SIGCONT)


async def test_a_well_house_meets_all_that_can_be_checked(house: WholeHouse) -> None:
    status, rows = accept(house, "--allow-unchecked")
    assert status == 0, rows
    limits = tomllib.loads(house.system_file.read_text(encoding="utf-8"))["acceptance"]
    assert 0 < rows["health cascade"]["figure"] <= rows["cold start to operational"]["figure"]
    assert rows["cold start to operational"]["limit"] == limits["cold_start_s"]
    assert rows["log aggregation"]["source"] == "local JSON lines"
    assert rows["replica lag"]["figure"] == 0
    assert rows[ALERT]["verdict"] == "not checked"
    assert "ALERTMANAGER_URL" in rows[ALERT]["why"]


def test_what_is_not_checked_is_not_accepted_unasked(house: WholeHouse) -> None:
    status, rows = accept(house)
    assert (status, failed(rows)) == (1, set())


async def test_without_litestream_the_replica_row_fails(house: WholeHouse) -> None:
    with stopped(house, "litestream"):
        status, rows = accept(house, "--allow-unchecked")
    assert status == 1
    assert "replica lag" in failed(rows)
    assert "litestream" in rows["replica lag"]["why"]
    await house.until_healthy(within_s=60)


async def test_without_gpu_the_cascade_fails_and_nothing_else(house: WholeHouse) -> None:
    with stopped(house, "gpu"):
        _, rows = accept(house, "--allow-unchecked")
    assert failed(rows) == {"health cascade"}
    assert "gpu" in rows["health cascade"]["why"]
    await house.until_healthy(within_s=60)


async def test_a_row_that_nobody_writes_is_no_replica(house: WholeHouse) -> None:
    with stopped(house, "worker"):
        _, rows = accept(house, "--allow-unchecked")
    assert "worker" in rows["replica lag"]["why"]
    await house.until_healthy(within_s=60)


def test_a_loki_that_is_not_there_fails_the_log_row(
    house: WholeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOKI_URL", "http://127.0.0.1:9")
    _, rows = accept(house, "--allow-unchecked")
    assert failed(rows) == {"log aggregation"}
    assert "loki" in rows["log aggregation"]["why"]


def test_a_start_that_took_longer_than_promised_fails(house: WholeHouse) -> None:
    graph = tomllib.loads(house.system_file.read_text(encoding="utf-8"))
    graph["acceptance"] |= {"cold_start_s": 1, "healthy_s": 1}
    before = house.system_file.read_text(encoding="utf-8")
    house.system_file.write_text(tomli_w.dumps(graph), encoding="utf-8")
    try:
        _, rows = accept(house, "--allow-unchecked")
    finally:
        house.system_file.write_text(before, encoding="utf-8")
    assert failed(rows) == {"cold start to operational", "health cascade"}
    assert "is more than 1" in rows["cold start to operational"]["why"]


def test_an_api_elsewhere_is_asked_by_its_url(house: WholeHouse) -> None:
    token = house.paths.secrets / "api_token"
    _, rows = accept(house, "--target", house.url("api"), "--token-file", str(token))
    verdicts = {name: row["verdict"] for name, row in rows.items()}
    assert verdicts.pop("health cascade") == "passed"
    assert verdicts.pop("replica lag") != "failed"  # where the api tells of its backups
    assert set(verdicts.values()) == {"not checked"}


def test_without_a_house_it_says_so_in_a_sentence(tmp_path: Path) -> None:
    done = WholeHouse(tmp_path, demo_home=False).cli("accept")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("[not_running]")
