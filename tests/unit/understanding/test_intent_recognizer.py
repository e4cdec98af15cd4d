"""Intent recognition: embeddings, the cache, and fallback to words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from barnabee.understanding import intent_recognizer
from barnabee.understanding.intent_recognizer import (
    ConfidenceBand,
    IntentRecognizer,
    Thresholds,
    list_examples,
    load_intents,
)
from barnabee.understanding.interfaces import Vectors
from support.clock import FakeClock
from support.fake_engines import FakeGpuClient

THRESHOLDS = Thresholds(0.6, 0.5, 0.02)


@pytest.fixture
def gpu() -> FakeGpuClient:
    return FakeGpuClient()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def recognizer(gpu: FakeGpuClient, clock: FakeClock) -> IntentRecognizer:
    return IntentRecognizer(gpu, THRESHOLDS, clock=clock)


async def test_words_decide_until_there_are_embeddings(
    recognizer: IntentRecognizer, gpu: FakeGpuClient
) -> None:
    before = await recognizer.recognize("what time is it")
    await recognizer.embed_examples()
    after = await recognizer.recognize("what time is it")
    assert (before.degraded, before.decision.intent) == (True, "time")
    assert (after.degraded, after.decision.intent) == (False, "time")


async def test_examples_are_embedded_in_batches_and_in_order(
    recognizer: IntentRecognizer, gpu: FakeGpuClient
) -> None:
    vectors = await recognizer.embed_examples()
    assert [text for batch in gpu.requests for text in batch] == list_examples(load_intents())
    assert max(map(len, gpu.requests)) <= intent_recognizer.EMBED_BATCH_SIZE
    assert vectors.shape == (len(list_examples(load_intents())), 384)


async def test_a_known_sentence_comes_from_the_cache(
    recognizer: IntentRecognizer, gpu: FakeGpuClient
) -> None:
    await recognizer.embed_examples()
    first = await recognizer.recognize("is it late")
    gpu.is_down = True
    assert await recognizer.recognize("is it late") is first


async def test_the_cache_is_bounded(
    recognizer: IntentRecognizer, gpu: FakeGpuClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intent_recognizer, "CACHE_SIZE", 2)
    await recognizer.embed_examples()
    for text in ("one", "two", "three", "one"):
        await recognizer.recognize(text)
    assert gpu.requests[-4:] == [["one"], ["two"], ["three"], ["one"]]


async def test_after_a_failure_the_embedder_is_not_asked_for_a_while(
    recognizer: IntentRecognizer, gpu: FakeGpuClient, clock: FakeClock
) -> None:
    await recognizer.embed_examples()
    gpu.is_down = True
    failed = await recognizer.recognize("what time is it now")
    gpu.is_down = False
    clock.now_s += intent_recognizer.EMBED_RETRY_S / 2
    paused = await recognizer.recognize("what time is it now")
    clock.now_s += intent_recognizer.EMBED_RETRY_S
    recovered = await recognizer.recognize("what time is it now")
    assert [one.degraded for one in (failed, paused, recovered)] == [True, True, False]
    assert failed.decision.band is ConfidenceBand.ACCEPT


async def test_a_hanging_embedder_counts_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        async def embed(self, texts: Sequence[str]) -> Vectors:
            await asyncio.Event().wait()
            return np.zeros((len(texts), 384), dtype=np.float32)

    monkeypatch.setattr(intent_recognizer, "EMBED_TIMEOUT_S", 0.01)
    recognition = await IntentRecognizer(Hanging(), THRESHOLDS).recognize("what time is it")
    assert (recognition.degraded, recognition.decision.intent) == (True, "time")
