"""The fake engines implement the engine protocols."""

from __future__ import annotations

import numpy as np
import pytest

from barnabee.core.errors import BadRequest
from barnabee.gpu.engines.base import SpeechToText, TextEmbedder, TextToSpeech, WakeWordEngine
from support.fake_engines import (
    FakeEmbedder,
    FakeSynthesizer,
    FakeTranscriber,
    FakeWakeWordEngine,
    JobGate,
)


def test_texts_with_shared_words_have_similar_vectors_of_length_1() -> None:
    embedder: TextEmbedder = FakeEmbedder()
    found = embedder.embed(["kitchen light", "the kitchen light", "weather report", ""])
    assert (found.vectors.shape, found.vectors.dtype) == ((4, 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    similarity = found.vectors @ found.vectors[0]
    assert similarity[0] > similarity[1] > 0.5 > similarity[2]
    np.testing.assert_array_equal(embedder.embed(["kitchen light"]).vectors[0], found.vectors[0])
    assert embedder.embed([]).vectors.shape == (0, 384)


def test_the_synthesizer_yields_samples_for_each_phrase() -> None:
    synthesizer: TextToSpeech = FakeSynthesizer()
    parts = list(synthesizer.speak("Hello there. How are you?", voice="barnabee", speed=1.0))
    assert [len(part) for part in parts] == [12 * 240, 12 * 240]
    assert all(part.dtype == np.float32 and np.abs(part).max() <= 1 for part in parts)
    with pytest.raises(BadRequest):
        list(synthesizer.speak("...", voice="barnabee", speed=1.0))


def test_the_transcriber_yields_segments_for_sound_and_none_for_silence() -> None:
    transcriber: SpeechToText = FakeTranscriber(text="One. Two.")
    segments = list(transcriber.transcribe(np.full(32_000, 0.1, np.float32), language="en"))
    assert [(one.start_s, one.end_s, one.text) for one in segments] == [
        (0.0, 1.0, " One."),
        (1.0, 2.0, " Two."),
    ]
    assert list(transcriber.transcribe(np.zeros(32_000, np.float32), language="en")) == []


def test_a_gate_that_is_not_opened_times_out() -> None:
    with pytest.raises(TimeoutError):
        JobGate().wait_until_open(limit_s=0.01)


def test_a_stream_scores_only_its_own_words() -> None:
    engine: WakeWordEngine = (fake := FakeWakeWordEngine())
    one, two = engine.open_stream(["alexa"]), engine.open_stream(engine.words)
    word = fake.make_frame("hey_jarvis", 870)
    assert one.score_frame(word) == {"alexa": 0.0}
    assert two.score_frame(word) == {"hey_jarvis": 0.87, "alexa": 0.0}
    with pytest.raises(ValueError, match="1280"):
        two.score_frame(word[:100])
