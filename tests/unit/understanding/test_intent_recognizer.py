from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from barnabee.testing.gpu import FakeGpu
from barnabee.understanding import intent_recognizer
from barnabee.understanding.intent_examples import intents, sentences
from barnabee.understanding.intent_index import Band, Thresholds
from barnabee.understanding.intent_recognizer import Understanding
from barnabee.understanding.interfaces import Vectors

LIMITS = Thresholds(0.6, 0.5, 0.02)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def gpu() -> FakeGpu:
    return FakeGpu()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def understanding(gpu: FakeGpu, clock: Clock) -> Understanding:
    return Understanding(gpu, LIMITS, clock=clock)


async def test_words_decide_until_there_are_vectors(
    understanding: Understanding, gpu: FakeGpu
) -> None:
    before = await understanding.understand("what time is it")
    await understanding.learn()
    after = await understanding.understand("what time is it")
    assert (before.degraded, before.decision.intent) == (True, "time")
    assert (after.degraded, after.decision.intent) == (False, "time")


async def test_the_examples_are_asked_for_in_parts_and_in_order(
    understanding: Understanding, gpu: FakeGpu
) -> None:
    vectors = await understanding.learn()
    assert [text for part in gpu.asked for text in part] == sentences(intents())
    assert max(map(len, gpu.asked)) <= intent_recognizer.AT_ONCE
    assert vectors.shape == (len(sentences(intents())), 384)


async def test_a_sentence_heard_before_is_not_asked_for_again(
    understanding: Understanding, gpu: FakeGpu
) -> None:
    await understanding.learn()
    first = await understanding.understand("is it late")
    gpu.down = True
    assert await understanding.understand("is it late") is first


async def test_memory_of_sentences_is_bounded(
    understanding: Understanding, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intent_recognizer, "HEARD_KEPT", 2)
    await understanding.learn()
    for text in ("one", "two", "three", "one"):
        await understanding.understand(text)
    assert gpu.asked[-4:] == [["one"], ["two"], ["three"], ["one"]]


async def test_after_a_failure_nobody_waits_for_a_while(
    understanding: Understanding, gpu: FakeGpu, clock: Clock
) -> None:
    await understanding.learn()
    gpu.down = True
    away = await understanding.understand("what time is it now")
    gpu.down = False
    clock.now_s += intent_recognizer.PAUSE_S / 2
    paused = await understanding.understand("what time is it now")
    clock.now_s += intent_recognizer.PAUSE_S
    back = await understanding.understand("what time is it now")
    assert [one.degraded for one in (away, paused, back)] == [True, True, False]
    assert away.decision.band is Band.ACCEPT


async def test_a_service_that_hangs_counts_as_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        async def embed(self, texts: Sequence[str]) -> Vectors:
            await asyncio.Event().wait()
            return np.zeros((len(texts), 384), dtype=np.float32)

    monkeypatch.setattr(intent_recognizer, "EMBED_TIMEOUT_S", 0.01)
    found = await Understanding(Hanging(), LIMITS).understand("what time is it")
    assert (found.degraded, found.decision.intent) == (True, "time")
