"""Makes tests/audio/*.wav: spoken questions in two voices, 16 kHz mono, from the Kokoro model.

Run from the checkout: `PYTHONPATH=src python scripts/make_test_audio.py` (models must be fetched).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from barnabee.core import system
from barnabee.gpu import wav
from barnabee.gpu.engines.kokoro import Kokoro

SENTENCES = {
    "kitchen_light": "Turn on the kitchen light.",
    "what_time": "What time is it?",
    "what_can_you_do": "What can you do?",
}
VOICES = ("af_heart", "bm_george")
RATE_HZ = 16_000
QUIET_S = 0.25


def main() -> None:
    """Write every sentence in every voice."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    models = Path(os.environ.get("BARNABEE_MODELS") or Path(home) / "barnabee" / "models")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=models)
    parser.add_argument("--out", type=Path, default=Path("tests/audio"))
    chosen = parser.parse_args()
    kokoro = Kokoro.load(chosen.models / "kokoro-int8", system.load().voice, threads=0)
    chosen.out.mkdir(parents=True, exist_ok=True)
    quiet = np.zeros(int(QUIET_S * RATE_HZ), np.float32)
    for name, sentence in SENTENCES.items():
        for voice in VOICES:
            spoken = np.concatenate(list(kokoro.speak(sentence, voice=voice, speed=1.0)))
            sound = wav.resample(spoken, kokoro.sample_rate_hz, RATE_HZ)
            data = wav.pcm16(np.concatenate([quiet, sound, quiet]))
            path = chosen.out / f"{name}_{voice}.wav"
            path.write_bytes(wav.header(RATE_HZ, len(data)) + data)
            print(f"{path}: {len(data) / 2 / RATE_HZ:.1f} s, {len(data) // 1024} KiB")


if __name__ == "__main__":
    main()
