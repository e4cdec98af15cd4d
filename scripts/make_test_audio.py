"""Test recordings: generates tests/audio and the probe's question with Kokoro, 16 kHz mono.

Run `PYTHONPATH=src python scripts/make_test_audio.py` in the checkout; needs fetched models.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from barnabee.audio import wav
from barnabee.audio.samples import resample, to_pcm16
from barnabee.clients import probe
from barnabee.core import system
from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.kokoro import Kokoro

SENTENCES = {
    "kitchen_light": "Turn on the kitchen light.",
    "what_time": "What time is it?",
    "what_can_you_do": "What can you do?",
}
VOICES = ("af_heart", "bm_george")
WAKE_WORDS = {
    ("hey_jarvis", "af_heart"): "Hey Jarvis!",
    ("hey_jarvis", "bm_george"): "Hey Jarvis!",
    ("hey_mycroft", "af_heart"): "Hey Mycroft!",
    ("alexa", "af_heart"): "Alexa!",
}
# What `barnabee probe` asks comes with the package.
PROBE, PROBE_VOICE = Path("src/barnabee/clients") / probe.RECORDING, "af_heart"
RATE_HZ = 16_000
QUIET_S, QUIET_AROUND_WORD_S = 0.25, 0.1
THREADS = 2


def main() -> None:
    """Write every sentence in every voice."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    models = Path(os.environ.get("BARNABEE_MODELS") or Path(home) / "barnabee" / "models")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=models)
    parser.add_argument("--out", type=Path, default=Path("tests/audio"))
    parser.add_argument("--only-wake-words", action="store_true")
    chosen = parser.parse_args()
    device = Device("cpu", THREADS)
    kokoro = Kokoro.load(chosen.models / "kokoro-int8", system.load_system().voice, device=device)
    (chosen.out / "wake").mkdir(parents=True, exist_ok=True)
    for (name, voice), sentence in WAKE_WORDS.items():
        record_sentence(
            kokoro,
            sentence,
            voice,
            chosen.out / "wake" / f"{name}_{voice}.wav",
            QUIET_AROUND_WORD_S,
        )
    for name, sentence in () if chosen.only_wake_words else SENTENCES.items():
        for voice in VOICES:
            record_sentence(kokoro, sentence, voice, chosen.out / f"{name}_{voice}.wav")
    if not chosen.only_wake_words:
        record_sentence(kokoro, probe.TEXT, PROBE_VOICE, PROBE)


def record_sentence(
    kokoro: Kokoro, sentence: str, voice: str, path: Path, quiet_s: float = QUIET_S
) -> None:
    """Write one sentence."""
    quiet = np.zeros(int(quiet_s * RATE_HZ), np.float32)
    spoken = np.concatenate(list(kokoro.speak(sentence, voice=voice, speed=1.0)))
    sound = resample(spoken, kokoro.sample_rate_hz, RATE_HZ)
    data = to_pcm16(np.concatenate([quiet, sound, quiet]))
    path.write_bytes(wav.make_header(RATE_HZ, len(data)) + data)
    print(f"{path}: {len(data) / 2 / RATE_HZ:.1f} s, {len(data) // 1024} KiB")


if __name__ == "__main__":
    main()
