"""Embedding cache: vectors of the intents' example sentences, computed once and stored in a file.

With the file, intent recognition works after a start without the gpu service. The file name
contains a hash of the sentences and of the model, so that a change of either recomputes the
vectors.
"""

from __future__ import annotations

import asyncio
import io
from hashlib import sha256
from pathlib import Path

import numpy as np
import structlog

from barnabee.core.errors import BarnabeeError
from barnabee.core.files import write_atomically
from barnabee.core.rate_limit import backoff_s
from barnabee.understanding import intent_recognizer
from barnabee.understanding.intent_recognizer import IntentRecognizer
from barnabee.understanding.interfaces import Vectors

RETRY_FIRST_S, RETRY_MAX_S = 0.5, 10.0

log = structlog.get_logger()


class EmbeddingCache:
    """Provides the vectors of an `IntentRecognizer`."""

    def __init__(self, recognizer: IntentRecognizer, directory: Path, model: str) -> None:
        """Store the file in `directory`; `model` identifies the embedding model."""
        self._recognizer = recognizer
        sentences = intent_recognizer.hash_examples(recognizer.intents)
        name = sha256(f"{sentences} {model}".encode()).hexdigest()[:16]
        self._path = directory / f"intents-{name}.npy"

    def load(self) -> bool:
        """Use the vectors in the file; return False if there is none or it is damaged."""
        try:
            vectors = np.load(self._path, allow_pickle=False)
            self._recognizer.use_vectors(vectors)
        except FileNotFoundError:
            return False
        except (OSError, ValueError, EOFError) as error:
            log.warning("intents_cache_damaged", code="unreadable", reason=str(error))
            return False
        return True

    async def compute(self) -> None:
        """Request the vectors from the gpu service until it answers, then use and store them."""
        failures = 0
        while True:
            try:
                vectors = await self._recognizer.embed_examples()
            except (BarnabeeError, ValueError) as error:
                failures += 1
                wait_s = backoff_s(failures, RETRY_FIRST_S, RETRY_MAX_S)
                log.info("intents_embedding_failed", reason=str(error), again_in_s=wait_s)
            else:
                break
            await asyncio.sleep(wait_s)
        log.info("intents_embedded", sentences=len(vectors))
        try:
            await asyncio.to_thread(self._save, vectors)
        except OSError as error:  # a full disk: they are computed again after the next start
            log.warning("intents_not_cached", code="unwritable", reason=str(error))

    def _save(self, vectors: Vectors) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, vectors, allow_pickle=False)
        write_atomically(self._path, buffer.getvalue())
