"""The vectors of the example sentences: asked for once, then kept in a file.

So a start without the gpu service understands too. The file's name holds a hash of the sentences
and of the model, so that a change of either asks anew.
"""

from __future__ import annotations

import asyncio
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import structlog

from barnabee.core.errors import BarnabeeError
from barnabee.understanding import intents
from barnabee.understanding.intent_recognizer import IntentRecognizer
from barnabee.understanding.interfaces import Vectors

RETRY_FIRST_S, RETRY_MOST_S = 0.5, 10.0

log = structlog.get_logger()


class ExampleVectors:
    """Gets an `Understanding` its vectors."""

    def __init__(self, understanding: IntentRecognizer, directory: Path, model: str) -> None:
        """Keep the file in `directory`; `model` names whatever makes the vectors."""
        self._understanding = understanding
        sentences = intents.hash_examples(understanding.intents)
        name = sha256(f"{sentences} {model}".encode()).hexdigest()[:16]
        self._path = directory / f"intents-{name}.npy"

    def load(self) -> bool:
        """Use the file, if there is one that fits; a damaged one counts as none."""
        try:
            vectors = np.load(self._path, allow_pickle=False)
            self._understanding.use_vectors(vectors)
        except FileNotFoundError:
            return False
        except (OSError, ValueError, EOFError) as error:
            log.warning("intents_cache_damaged", code="unreadable", reason=str(error))
            return False
        return True

    async def learn(self) -> None:
        """Ask the gpu service until it answers; return when the vectors are in use."""
        wait_s = RETRY_FIRST_S
        while True:
            try:
                vectors = await self._understanding.embed_examples()
            except (BarnabeeError, ValueError) as error:
                log.info("intents_wait", reason=str(error), again_in_s=wait_s)
            else:
                break
            await asyncio.sleep(wait_s)
            wait_s = min(RETRY_MOST_S, wait_s * 2)
        log.info("intents_learnt", sentences=len(vectors))
        try:
            await asyncio.to_thread(self._save, vectors)
        except OSError as error:  # a full disk: they are asked for again after the next start
            log.warning("intents_not_cached", code="unwritable", reason=str(error))

    def _save(self, vectors: Vectors) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.save(file, vectors, allow_pickle=False)
        part.replace(self._path)
