"""The sentences of a family's first week, without a language model, on a fake home."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.minilm import MiniLm
from barnabee.understanding.intent_recognizer import IntentRecognizer
from barnabee.understanding.interfaces import Entity, Vectors
from support.first_week import (
    Turn,
    classify,
    count_right,
    find_reply_problems,
    find_state_problems,
    load_dialogues,
    report,
    run_dialogue,
)
from support.first_week_fake import FakeHousehold, make_recognizer
from support.gpu import find_models_dir
from support.skills import NOW

MIN_SENTENCES, MIN_FIRST = 222, 72
MIN_RIGHT, MIN_FIRST_RIGHT = 0.9, 65 / 72


@dataclass
class ModelEmbedder:
    """The model of the inference service, in this process."""

    model: MiniLm

    async def embed(self, texts: Sequence[str]) -> Vectors:
        return np.asarray(self.model.embed(list(texts)).vectors, dtype=np.float32)


async def load_recognizer() -> IntentRecognizer:
    model = MiniLm.load(find_models_dir() / "minilm", device=Device("cpu", 1))
    recognizer = make_recognizer(ModelEmbedder(model))
    await recognizer.embed_examples()
    return recognizer


@pytest.mark.parametrize("has_embeddings", [False, True], ids=["by_words", "by_embeddings"])
async def test_the_first_week_is_answered_rightly_and_never_misleads(
    capsys: pytest.CaptureFixture[str], *, has_embeddings: bool
) -> None:
    recognizer = await load_recognizer() if has_embeddings else make_recognizer()
    judgements = [
        judgement
        for dialogue in load_dialogues()
        for judgement in await run_dialogue(dialogue, FakeHousehold(recognizer))
    ]
    first = [one for one in judgements if one.dialogue.is_first]
    with capsys.disabled():
        print(f"\n{report(judgements)}")
    assert (len(judgements) >= MIN_SENTENCES, len(first) >= MIN_FIRST) == (True, True)
    assert [str(one) for one in judgements if one.verdict == "misleading"] == []
    assert count_right(judgements) / len(judgements) >= MIN_RIGHT
    assert count_right(first) / len(first) >= MIN_FIRST_RIGHT


@pytest.mark.parametrize(
    ("turn", "reply", "state", "verdict"),
    [
        (Turn("lamp on", {"light.a": "on"}), "I turned on the lamp.", "on", "right"),
        (Turn("lamp on", {"light.a": "on"}), "I turned on the lamp.", "off", "misleading"),
        (Turn("lamp on", {"light.a": "on"}), "I can't reach the lamp.", "off", "refused"),
        (Turn("lamp on", {"light.a": "on"}), "Which lamp?", "off", "wrong"),
        (Turn("lamp on", {"light.a": "on"}), "Sorry, I don't know how.", "on", "refused"),
        (Turn("order a pizza", refuses=True), "I ordered a pizza.", "off", "misleading"),
        (Turn("order a pizza", refuses=True), "I can't order anything.", "off", "right"),
        (Turn("order a pizza", refuses=True), "I can't order anything.", "on", "misleading"),
        (Turn("the code?", says="5678", never="1234"), "5678.", "off", "right"),
        (Turn("the code?", says="5678", never="1234"), "I don't know, 1234.", "off", "misleading"),
    ],
)
def test_a_claim_that_is_not_true_has_misled(
    turn: Turn, reply: str, state: str, verdict: str
) -> None:
    before = {"light.a": Entity("light.a", ("Lamp",), None, "off")}
    after = {"light.a": Entity("light.a", ("Lamp",), None, state)}
    today = NOW.date()
    problems = [
        *find_state_problems(turn, before, after),
        *find_reply_problems(turn, reply, today),
    ]
    assert classify(turn, reply, problems, today) == verdict
