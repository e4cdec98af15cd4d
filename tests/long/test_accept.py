"""`barnabee accept` on a real deployment: passes, and each criterion fails for its own reason."""

from __future__ import annotations

import json
import os
import signal
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from support.deployment import Deployment

pytestmark = pytest.mark.timeout(300)
ALERT = "test alert"
# without the periodic voice probe, which uses all cores for seconds
QUIET = {"probe": {"every_s": 0}}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("accept"), demo_home=False, tables=QUIET)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.clean_up()


def accept(deployment: Deployment, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status and the rows by criterion."""
    done = deployment.run_cli("accept", "--json", *arguments)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["accepted"] is (done.returncode == 0)
    return done.returncode, {row["criterion"]: row for row in report["criteria"]}


def failed(rows: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, row in rows.items() if row["verdict"] == "failed"}


@contextmanager
def kept_down(deployment: Deployment, name: str) -> Iterator[None]:
    """Kill a service as often as it starts, and restart it at the end."""
    ended = threading.Event()

    def kill_repeatedly() -> None:
        while not ended.wait(0.02):
            if pid := deployment.read_node(name).pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    killing = threading.Thread(target=kill_repeatedly)
    killing.start()
    try:
        yield
    finally:
        ended.set()
        killing.join()
        deployment.run_cli("restart", name)


async def test_a_healthy_deployment_passes_all_checkable_criteria(deployment: Deployment) -> None:
    status, rows = accept(deployment, "--allow-unchecked")
    assert status == 0, rows
    limits = tomllib.loads(deployment.system_file.read_text(encoding="utf-8"))["acceptance"]
    assert 0 < rows["health cascade"]["figure"] <= rows["cold start to operational"]["figure"]
    assert rows["cold start to operational"]["limit"] == limits["cold_start_s"]
    assert rows["log aggregation"]["source"] == "local JSON lines"
    assert rows["replica lag"]["figure"] == 0
    assert rows[ALERT]["verdict"] == "not checked"
    assert "ALERTMANAGER_URL" in rows[ALERT]["why"]


def test_unchecked_criteria_are_not_accepted_by_default(deployment: Deployment) -> None:
    status, rows = accept(deployment)
    assert (status, failed(rows)) == (1, set())


async def test_without_litestream_the_replica_criterion_fails(deployment: Deployment) -> None:
    with kept_down(deployment, "litestream"):
        status, rows = accept(deployment, "--allow-unchecked")
    assert status == 1
    assert "replica lag" in failed(rows)
    assert "litestream" in rows["replica lag"]["why"]
    await deployment.wait_until_healthy()


async def test_without_gpu_only_the_cascade_fails(deployment: Deployment) -> None:
    with kept_down(deployment, "gpu"):
        _, rows = accept(deployment, "--allow-unchecked")
    assert failed(rows) == {"health cascade"}
    assert "gpu" in rows["health cascade"]["why"]
    await deployment.wait_until_healthy()


async def test_without_the_worker_the_replica_criterion_fails(deployment: Deployment) -> None:
    with kept_down(deployment, "worker"):
        _, rows = accept(deployment, "--allow-unchecked")
    assert "worker" in rows["replica lag"]["why"]
    await deployment.wait_until_healthy()


def test_an_unreachable_loki_fails_the_log_criterion(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOKI_URL", "http://127.0.0.1:9")
    _, rows = accept(deployment, "--allow-unchecked")
    assert failed(rows) == {"log aggregation"}
    assert "loki" in rows["log aggregation"]["why"]


def test_a_start_over_its_limits_fails(deployment: Deployment) -> None:
    graph = tomllib.loads(deployment.system_file.read_text(encoding="utf-8"))
    graph["acceptance"] |= {"cold_start_s": 1, "healthy_s": 1}
    before = deployment.system_file.read_text(encoding="utf-8")
    deployment.system_file.write_text(tomli_w.dumps(graph), encoding="utf-8")
    try:
        _, rows = accept(deployment, "--allow-unchecked")
    finally:
        deployment.system_file.write_text(before, encoding="utf-8")
    assert failed(rows) == {"cold start to operational", "health cascade"}
    assert "is more than 1" in rows["cold start to operational"]["why"]


def test_a_remote_api_is_measured_by_its_url(deployment: Deployment) -> None:
    token = deployment.paths.secrets / "api_token"
    _, rows = accept(deployment, "--target", deployment.url("api"), "--token-file", str(token))
    verdicts = {name: row["verdict"] for name, row in rows.items()}
    assert verdicts.pop("health cascade") == "passed"
    assert verdicts.pop("replica lag") != "failed"  # if the api reports its backups
    assert set(verdicts.values()) == {"not checked"}


def test_without_a_run_the_error_is_not_running(tmp_path: Path) -> None:
    done = Deployment(tmp_path, demo_home=False).run_cli("accept")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("[not_running]")
