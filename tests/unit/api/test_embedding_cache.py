from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from barnabee.api import embedding_cache
from barnabee.api.embedding_cache import EmbeddingCache
from barnabee.testing.gpu import FakeGpuClient
from barnabee.understanding.intent_recognizer import IntentRecognizer
from barnabee.understanding.intents import Thresholds
from support.wait import eventually


@pytest.fixture
def gpu() -> FakeGpuClient:
    return FakeGpuClient()


def understanding(gpu: FakeGpuClient) -> IntentRecognizer:
    return IntentRecognizer(gpu, Thresholds(0.6, 0.5, 0.02))


async def test_what_was_learnt_is_there_at_the_next_start_without_asking(
    gpu: FakeGpuClient, tmp_path: Path
) -> None:
    await EmbeddingCache(understanding(gpu), tmp_path / "cache", "minilm").learn()
    asked = len(gpu.requests)
    gpu.is_down = True
    later = understanding(FakeGpuClient())
    assert EmbeddingCache(later, tmp_path / "cache", "minilm").load()
    assert (await later.recognize("what time is it")).degraded is False
    assert len(gpu.requests) == asked


async def test_another_model_learns_anew(gpu: FakeGpuClient, tmp_path: Path) -> None:
    await EmbeddingCache(understanding(gpu), tmp_path, "minilm").learn()
    assert not EmbeddingCache(understanding(gpu), tmp_path, "other").load()


@pytest.mark.parametrize("content", [b"", b"not vectors", b"\x93NUMPY"])
async def test_a_damaged_file_counts_as_none(gpu: FakeGpuClient, tmp_path: Path, content: bytes) -> None:
    await EmbeddingCache(understanding(gpu), tmp_path, "minilm").learn()
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(content)
    assert not EmbeddingCache(understanding(gpu), tmp_path, "minilm").load()


async def test_it_asks_until_the_service_is_there(
    gpu: FakeGpuClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_cache, "RETRY_FIRST_S", 0.01)
    gpu.is_down = True
    learning = asyncio.create_task(EmbeddingCache(understanding(gpu), tmp_path, "minilm").learn())
    await asyncio.sleep(0)
    assert list(tmp_path.iterdir()) == []
    gpu.is_down = False

    async def kept() -> list[Path]:
        return list(tmp_path.glob("intents-*.npy"))

    await eventually(kept, within_s=5, every_s=0.01)
    await learning


async def test_a_directory_that_cannot_be_written_is_no_reason_to_fail(
    gpu: FakeGpuClient, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file")
    mind = understanding(gpu)
    await EmbeddingCache(mind, in_the_way, "minilm").learn()
    assert (await mind.recognize("what time is it")).degraded is False
