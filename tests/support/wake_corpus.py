"""Corpus for measuring wake words: the words, similar sentences, and television dialogue.

The sentences are made up for this test. `CorpusSpeaker` synthesizes them with the real Kokoro and
caches the audio in a folder, because Kokoro runs at about real time here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnabee.audio.samples import resample, to_pcm16
from barnabee.core import system
from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.kokoro import Kokoro

Pcm = NDArray[np.int16]
RATE_HZ = 16_000
CALLS = {
    "hey_jarvis": "Hey Jarvis!",
    "hey_mycroft": "Hey Mycroft!",
    "alexa": "Alexa!",
    "hey_marvin": "Hey Marvin!",
}
VOICES = (
    *("af_heart", "af_bella", "af_nicole", "af_sky", "am_adam", "am_michael", "am_puck"),
    *("am_santa", "bf_emma", "bf_alice", "bm_george", "bm_lewis"),
)
SPEEDS = (0.8, 1.0, 1.25)
NEAR = (
    "Hey Travis, are you coming with us?",
    "Hey Jarred, pass me the salt.",
    "Hey, charge this battery for me.",
    "Jarvis is a funny name for a dog.",
    "He said Jarvis twice and then he left.",
    "Hey Marcus, what did you say?",
    "Hey Janice, look at this!",
    "They harvest the corn in September.",
    "Hey, Jessica's here already.",
    "Hey Harvey, your shoes are untied.",
    "A jar of this, and a jar of that.",
    "The service was good, hey, better than last year.",
    "My craft table is full of paper.",
    "Hey, Mike roft his boat to the pier.",
    "Hey Microsoft, fix the printer.",
    "Minecraft is all the children play.",
    "A lecture about taxes begins at eight.",
    "I'll ask her about the election tomorrow.",
    "Alex, a parcel came for you.",
    "Relax, a bit of rain is nothing.",
    "Hey Martin, the match is on.",
    "Hey Marvellous weather, isn't it?",
    "Starving? There is soup in the fridge.",
    "Hey there, this is the weather channel.",
)
TELEVISION = (
    "Good evening, and welcome to the news at nine.",
    "The government said on Monday that the bridge will be closed until the end of next month.",
    "Shares fell sharply in early trading, while the price of oil rose by two percent.",
    "He never told anyone where the letter came from, not even his brother.",
    "You can't just walk in here and expect everything to be as it was!",
    "Now whisk the eggs with the sugar until the mixture is pale and thick.",
    "Leave it in the oven for forty minutes, and do not open the door.",
    "And it's a beautiful pass down the left wing, he shoots, and it is just over the bar!",
    "Tonight some clouds in the north, and tomorrow a fresh wind from the west.",
    "Scientists have found a frog in the rain forest that nobody had described before.",
    "Hey, wait for me, I only need to get my jacket!",
    "Call now and you will get a second one for free, just pay for the postage.",
    "The castle was built in the eleventh century, and burned down twice.",
    "Are you sure that this is the right train? It should have left ten minutes ago.",
    "Mum, where did you put my football boots?",
    "I think we should paint the whole room in a light green.",
    "Three hundred people came to the village fair, in spite of the rain.",
    "That's the most ridiculous thing I have ever heard in my life.",
    "Once upon a time there was a hedgehog who wanted to learn to swim.",
    "Please mind the gap between the train and the platform.",
    "The doctor will see you now, second door on the right.",
    "She opened the box very slowly, as if something inside might wake up.",
    "First we turn off the water, then we loosen the two screws under the sink.",
    "Who wants to go to the lake on Saturday, if the weather is good?",
    "Ladies and gentlemen, please welcome our next guest!",
    "They have been married for fifty years, and he still brings her flowers.",
    "Add a pinch of salt, half a lemon, and a spoonful of honey.",
    "The suspect was last seen in a grey van near the harbour.",
    "Do your homework first, then you may play until dinner.",
    "This programme contains flashing lights.",
    "In the second half the home side looked tired and made mistakes.",
    "My grandmother kept the recipe in a tin on the top shelf.",
    "The satellite will reach its orbit on Thursday, if all goes according to plan.",
    "Who left the freezer open? There's water all over the floor!",
    "Take the second exit at the roundabout, and then keep left.",
    "Well, hey, nobody is perfect, and it was only a plate.",
    "The orchestra plays every Sunday in the park, and entry is free.",
    "We had to wait two hours for the ferry, but the view was worth it.",
    "Jam, bread, a little butter, and perhaps some of that cheese.",
    "He has worked as a carpenter, a sailor, and a teacher of music.",
)


@dataclass
class CorpusSpeaker:
    """Synthesizes sentences in many voices; `folder` is the cache."""

    models: Path
    folder: Path
    threads: int = 2
    _kokoro: Kokoro | None = None

    def say(self, text: str, voice: str, speed: float = 1.0) -> Pcm:
        """Return the audio of `text` at 16 kHz, without silence around it."""
        name = hashlib.sha256(f"{text}|{voice}|{speed}".encode()).hexdigest()[:16]
        path = self.folder / f"{name}.npy"
        if path.is_file():
            kept: Pcm = np.load(path)
            return kept
        if self._kokoro is None:
            voice_config = system.load_system().voice
            device = Device("cpu", self.threads)
            self._kokoro = Kokoro.load(self.models / "kokoro-int8", voice_config, device=device)
        spoken = np.concatenate(list(self._kokoro.speak(text, voice=voice, speed=speed)))
        sound = resample(spoken, self._kokoro.sample_rate_hz, RATE_HZ)
        pcm = np.frombuffer(to_pcm16(sound), np.int16)
        self.folder.mkdir(parents=True, exist_ok=True)
        np.save(path, pcm)
        return pcm

    def calls(self, word: str) -> Iterator[Pcm]:
        """Yield the word in every voice and at every speed."""
        for voice in VOICES:
            for speed in SPEEDS:
                yield self.say(CALLS[word], voice, speed)

    def others(self, sentences: Sequence[str], voices: int = 1) -> Iterator[Pcm]:
        """Yield each sentence, in `voices` of the voices in turn."""
        for number, sentence in enumerate(sentences):
            for turn in range(voices):
                yield self.say(sentence, VOICES[(number + 5 * turn) % len(VOICES)])


def pad_with_silence(sound: Pcm, *, before_s: float = 1.5, after_s: float = 1.5) -> Pcm:
    """Return `sound` with silence before and after it."""
    quiet = [np.zeros(int(seconds * RATE_HZ), np.int16) for seconds in (before_s, after_s)]
    return np.concatenate([quiet[0], sound, quiet[1]])


def add_noise(sound: Pcm, noise: NDArray[np.float64], snr_db: float) -> Pcm:
    """Return `sound` with `noise` at this ratio to the power of its speech."""
    speech = sound.astype(np.float64)
    active = np.abs(speech) > 0.02 * np.abs(speech).max()
    power = float(np.mean(speech[active] ** 2))
    cut = np.resize(noise, len(speech))
    gain = math.sqrt(power / float(np.mean(cut**2)) / 10 ** (snr_db / 10))
    return np.clip(speech + gain * cut, -32768, 32767).astype(np.int16)


def make_pink_noise(seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """Return pink noise, similar to a fan or a cooker hood."""
    count = int(seconds * RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1.0))
    return np.asarray(np.fft.irfft(spectrum, count))


def make_babble(sounds: Sequence[Pcm], seconds: float, voices: int = 4) -> NDArray[np.float64]:
    """Return several voices that speak at the same time."""
    count = int(seconds * RATE_HZ)
    total = np.zeros(count)
    joined = np.concatenate(sounds).astype(np.float64)
    for turn in range(voices):
        total += np.resize(np.roll(joined, -turn * len(joined) // voices), count)
    return total


def add_echo(sound: Pcm, decay_s: float = 0.5, seed: int = 0) -> Pcm:
    """Return `sound` with reverberation: noise that decays by 60 dB in `decay_s`."""
    count = int(decay_s * RATE_HZ)
    tail = np.random.default_rng(seed).standard_normal(count)
    tail *= 10 ** (-3 * np.arange(count) / count) * 0.05
    tail[0] = 1.0
    size = len(sound) + count
    mixed = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)
    peak = max(1.0, float(np.abs(mixed).max()) / 32767)
    return (mixed[: len(sound)] / peak).astype(np.int16)
