"""Storm: services of a real deployment are killed, stopped and terminated while commands are said.

Every answered turn is recorded once, a killed service is back in 15 s and a hung one in 20 s.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import chain

import pytest

from barnabee.up import logfile, plan
from support.benchmark import choose_size, is_at_most
from support.deployment import CommandLoop, Deployment
from support.wait import eventually

ROUNDS = choose_size(100, 6)
SERVICES = ("redis", "api", "worker", "gpu", "voice", "litestream", "s3")
LIMITS_S = {signal.SIGKILL: 15, signal.SIGTERM: 15, signal.SIGSTOP: 20}
RUNNING_STATES = {"healthy", "degraded"}
TURNS_PER_ROUND = 3

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("deployment")
    with Deployment(directory, demo_home=False).running() as running:
        yield running


async def strike(deployment: Deployment, name: str, number: signal.Signals) -> float:
    """Signal a service; return after how many seconds another process of it is ready."""
    begun_s = time.monotonic()
    pid = deployment.kill(name, number)

    async def is_back() -> bool:
        node = deployment.read_node(name)
        return node.phase == "ready" and node.pid != pid and node.state in RUNNING_STATES

    await eventually(is_back)
    return time.monotonic() - begun_s


async def wait_until_ready(deployment: Deployment) -> None:
    async def all_ready() -> bool:
        states = {name: deployment.read_node(name).state for name in SERVICES}
        assert set(states.values()) <= RUNNING_STATES, states
        return True

    await eventually(all_ready)


async def test_a_storm_of_signals_loses_no_turn_and_every_service_comes_back(
    deployment: Deployment,
) -> None:
    choice = random.Random(20260131)  # noqa: S311 - not for security
    conversation = CommandLoop(deployment, utterance="what is {} plus one")
    talking = asyncio.create_task(conversation.run())
    times_s: dict[tuple[str, signal.Signals], list[float]] = defaultdict(list)
    try:
        for _ in range(ROUNDS):
            await wait_until_ready(deployment)
            enough = len(conversation.accepted) + TURNS_PER_ROUND
            await eventually(lambda enough=enough: _has_accepted(conversation, enough))
            name, number = choice.choice(SERVICES), choice.choice(tuple(LIMITS_S))
            times_s[name, number].append(await strike(deployment, name, number))
        await wait_until_ready(deployment)
    finally:
        talking.cancel()
        with suppress(asyncio.CancelledError):
            await talking
        _print_table(times_s, conversation)
    await conversation.wait_until_recorded()
    _expect_each_turn_once(deployment, conversation)
    assert not _read_events(deployment) & plan.STUCK
    for (name, number), seconds in times_s.items():
        assert is_at_most(max(seconds), LIMITS_S[number]), (name, number.name)


def _read_events(deployment: Deployment) -> set[str]:
    log = deployment.paths.log
    with log.open(encoding="utf-8") as file:
        records = chain(logfile.read_rotated(log), logfile.read_records(file))
        return {record["event"] for record in records if record["component"] == "runner"}


async def _has_accepted(conversation: CommandLoop, count: int) -> bool:
    return len(conversation.accepted) >= count


def _expect_each_turn_once(deployment: Deployment, conversation: CommandLoop) -> None:
    uri = f"file:{deployment.paths.database}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        turns = dict(database.execute("SELECT trace_id, utterance FROM turns").fetchall())
    assert set(conversation.accepted) <= set(turns)
    said = Counter(text for text in turns.values() if text.endswith("plus one"))
    assert [text for text, number in said.items() if number > 1] == []


def _print_table(
    times_s: dict[tuple[str, signal.Signals], list[float]], conversation: CommandLoop
) -> None:
    turns, refused = len(conversation.accepted), len(conversation.refused)
    print(f"\n{turns} turns answered, {refused} refused\nservice     signal   count  median  max")
    for (name, number), seconds in sorted(times_s.items()):
        median_s, max_s = statistics.median(seconds), max(seconds)
        print(f"{name:<11} {number.name:<8} {len(seconds):>5} {median_s:>7.1f} {max_s:>4.1f}")
