from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from barnabee.api import embedding_cache
from barnabee.api.embedding_cache import EmbeddingCache
from barnabee.understanding.intent_recognizer import IntentRecognizer, Thresholds
from support.fake_engines import FakeGpuClient
from support.wait import eventually


@pytest.fixture
def gpu() -> FakeGpuClient:
    return FakeGpuClient()


def make_recognizer(gpu: FakeGpuClient) -> IntentRecognizer:
    return IntentRecognizer(gpu, Thresholds(0.6, 0.5, 0.02))


async def test_stored_vectors_are_used_at_the_next_start(
    gpu: FakeGpuClient, tmp_path: Path
) -> None:
    await EmbeddingCache(make_recognizer(gpu), tmp_path / "cache", "minilm").compute()
    request_count = len(gpu.requests)
    gpu.is_down = True
    later = make_recognizer(FakeGpuClient())
    assert EmbeddingCache(later, tmp_path / "cache", "minilm").load()
    assert (await later.recognize("what time is it")).degraded is False
    assert len(gpu.requests) == request_count


async def test_another_model_does_not_use_the_stored_vectors(
    gpu: FakeGpuClient, tmp_path: Path
) -> None:
    await EmbeddingCache(make_recognizer(gpu), tmp_path, "minilm").compute()
    assert not EmbeddingCache(make_recognizer(gpu), tmp_path, "other").load()


@pytest.mark.parametrize("content", [b"", b"not vectors", b"\x93NUMPY"])
async def test_damaged_file_is_ignored(gpu: FakeGpuClient, tmp_path: Path, content: bytes) -> None:
    await EmbeddingCache(make_recognizer(gpu), tmp_path, "minilm").compute()
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert not EmbeddingCache(make_recognizer(gpu), tmp_path, "minilm").load()


async def test_vectors_are_requested_until_the_service_answers(
    gpu: FakeGpuClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_cache, "RETRY_FIRST_S", 0.01)
    gpu.is_down = True
    computing = asyncio.create_task(
        EmbeddingCache(make_recognizer(gpu), tmp_path, "minilm").compute()
    )
    await asyncio.sleep(0)
    assert list(tmp_path.iterdir()) == []
    gpu.is_down = False

    async def find_files() -> list[Path]:
        return list(tmp_path.glob("intents-*.npy"))

    await eventually(find_files, every_s=0.01)
    await computing


async def test_unwritable_directory_is_no_error(gpu: FakeGpuClient, tmp_path: Path) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("a file")
    recognizer = make_recognizer(gpu)
    await EmbeddingCache(recognizer, blocked, "minilm").compute()
    assert (await recognizer.recognize("what time is it")).degraded is False
