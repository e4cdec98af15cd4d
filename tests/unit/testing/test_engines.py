"""The stand-ins keep the promises of the protocols, or tests that use them would prove nothing."""

from __future__ import annotations

import numpy as np
import pytest

from barnabee.core.errors import BadRequest
from barnabee.gpu.engines.protocols import TextEmbedder, SpeechToText, TextToSpeech, WakeWordEngine
from barnabee.testing.engines import FakeTranscriber, FakeEmbedder, FakeSynthesizer, FakeWakeWordEngine, JobGate


def test_vectors_have_length_one_and_follow_the_words() -> None:
    embedder: TextEmbedder = FakeEmbedder()
    found = embedder.embed(["kitchen light", "the kitchen light", "weather report", ""])
    assert (found.vectors.shape, found.vectors.dtype) == ((4, 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    likeness = found.vectors @ found.vectors[0]
    assert likeness[0] > likeness[1] > 0.5 > likeness[2]
    np.testing.assert_array_equal(embedder.embed(["kitchen light"]).vectors[0], found.vectors[0])
    assert embedder.embed([]).vectors.shape == (0, 384)


def test_the_voice_says_each_phrase_as_sound_within_bounds() -> None:
    voice: TextToSpeech = FakeSynthesizer()
    parts = list(voice.speak("Hello there. How are you?", voice="barnabee", speed=1.0))
    assert [len(part) for part in parts] == [12 * 240, 12 * 240]
    assert all(part.dtype == np.float32 and np.abs(part).max() <= 1 for part in parts)
    with pytest.raises(BadRequest):
        list(voice.speak("...", voice="barnabee", speed=1.0))


def test_the_ears_hear_sentences_over_the_whole_sound_and_nothing_in_silence() -> None:
    ears: SpeechToText = FakeTranscriber(text="One. Two.")
    segments = list(ears.transcribe(np.full(32_000, 0.1, np.float32), language="en"))
    assert [(one.start_s, one.end_s, one.text) for one in segments] == [
        (0.0, 1.0, " One."),
        (1.0, 2.0, " Two."),
    ]
    assert list(ears.transcribe(np.zeros(32_000, np.float32), language="en")) == []


def test_a_gate_nobody_opens_does_not_hang_the_test() -> None:
    with pytest.raises(TimeoutError):
        JobGate().wait_until_open(limit_s=0.01)


def test_wake_words_are_heard_where_they_were_put_and_only_by_who_listens_for_them() -> None:
    engine: WakeWordEngine = (fake := FakeWakeWordEngine())
    one, two = engine.listener(["alexa"]), engine.listener(engine.words)
    word = fake.make_frame("hey_jarvis", 870)
    assert one.hear(word) == {"alexa": 0.0}
    assert two.hear(word) == {"hey_jarvis": 0.87, "alexa": 0.0}
    with pytest.raises(ValueError, match="1280"):
        two.hear(word[:100])
