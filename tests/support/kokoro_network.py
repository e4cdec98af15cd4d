"""Small random Kokoro network in the files of the real one, and a run of the torch engine on it.

Runs in torch's Python: `python -m support.kokoro_network make FOLDER` writes the files and `try
FOLDER` prints the results of the engine as JSON. Dimensions that kokoro's code fixes (512 channels
of the decoder, styles of 256) are the real ones; all others are small.
"""

from __future__ import annotations

import json
import math
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

VOICES = ("am_michael", "bm_george", "af_heart")
BLEND = {"am_michael": 60, "bm_george": 40}
TEXT = "Good morning. The heating is set to twenty degrees, and the front door is locked."
FRAMES_PER_PHONEME = 3  # of 25 ms, as in speech
LONG = "1234567890 " * 7  # more than 510 phonemes, the model's limit


def make_config() -> dict[str, Any]:
    """Return kokoro's config.json with the real vocabulary and a small network."""
    from kokoro_onnx.config import DEFAULT_VOCAB  # noqa: PLC0415 - heavy

    return {
        "istftnet": {
            "upsample_kernel_sizes": [20, 12],
            "upsample_rates": [10, 6],
            "gen_istft_hop_size": 5,
            "gen_istft_n_fft": 20,
            "resblock_dilation_sizes": [[1, 3, 5]],
            "resblock_kernel_sizes": [3],
            "upsample_initial_channel": 512,
        },
        "dim_in": 64,
        "dropout": 0.2,
        "hidden_dim": 512,
        "max_dur": 4,
        "n_layer": 1,
        "n_mels": 80,
        "n_token": 178,
        "style_dim": 128,
        "text_encoder_kernel_size": 5,
        "plbert": {
            "hidden_size": 64,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "max_position_embeddings": 512,
            "num_hidden_layers": 1,
            "dropout": 0.1,
        },
        "vocab": DEFAULT_VOCAB,
    }


def read_real_config() -> dict[str, Any]:
    """Return kokoro's own config.json, which kokoro-onnx carries byte for byte."""
    from importlib.resources import files  # noqa: PLC0415

    config: dict[str, Any] = json.loads((files("kokoro_onnx") / "config.json").read_bytes())
    return config


def write_files(folder: Path, config: dict[str, Any] | None = None) -> None:
    """Write config, weights and voices with a manifest; a small network without `config`."""
    import torch  # noqa: PLC0415 - only there in torch's Python
    from kokoro.model import KModel  # noqa: PLC0415

    from barnabee.core import manifest  # noqa: PLC0415

    config = config or make_config()
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, ensure_ascii=False))
    torch.manual_seed(0)
    parts = ("bert", "bert_encoder", "predictor", "decoder", "text_encoder")
    torch.save({}, folder / "nothing.pth")
    network = KModel("random", config=config, model=str(folder / "nothing.pth"))
    (folder / "nothing.pth").unlink()
    if config["max_dur"] > 2 * FRAMES_PER_PHONEME:
        _set_duration(network, config["max_dur"])
    weights = {  # as in the real file, whose names begin with "module."
        part: {f"module.{name}": one for name, one in getattr(network, part).state_dict().items()}
        for part in parts
    }
    torch.save(weights, folder / "kokoro-v1_0.pth")
    (folder / "voices").mkdir()
    for voice in VOICES:
        torch.save(torch.randn(510, 1, 256) * 0.3, folder / "voices" / f"{voice}.pt")
    manifest.write_manifest(folder)


def _set_duration(network: Any, max_frames: int) -> None:
    """Make a phoneme last about FRAMES_PER_PHONEME; random weights alone give half of the maximum.

    The predictor sums `max_frames` sigmoids.
    """
    share = FRAMES_PER_PHONEME / max_frames
    network.predictor.duration_proj.linear_layer.bias.data.fill_(math.log(share / (1 - share)))


def run_engine(folder: Path) -> dict[str, Any]:
    """Load the engine from `folder` and return measurements of it."""
    from barnabee.core.schema import VoiceConfig  # noqa: PLC0415
    from barnabee.gpu.engines.base import Device  # noqa: PLC0415
    from barnabee.gpu.engines.kokoro import (  # noqa: PLC0415
        KokoroTorch,
        mix_voices,
        read_voices,
    )

    socket.socket.connect = _refuse  # type: ignore[assignment,method-assign]
    voice_config = VoiceConfig(
        name="barnabee", sample_rate_hz=24_000, speed_percent=100, blend=BLEND
    )
    tables = read_voices(folder)
    engine = KokoroTorch.load(folder, voice_config, device=Device("cpu", 2))
    engine.warm_up()
    runs = _count_runs(engine)
    phrases, runs_before = [], []
    for sound in engine.speak(TEXT, voice="barnabee", speed=1.0):
        phrases.append(sound)
        runs_before.append(len(runs))
    fast = list(engine.speak(TEXT, voice="barnabee", speed=2.0))
    before = len(runs)
    long = np.concatenate(list(engine.speak(LONG, voice="af_heart", speed=2.0)))
    found = {
        "voices": list(engine.voices),
        "rate": engine.sample_rate_hz,
        "blend_off": float(
            np.abs(engine._blend - mix_voices({v: tables[v] for v in BLEND}, BLEND)).max()
        ),
        "seconds": [len(one) / 24_000 for one in phrases],
        "kinds": sorted({str(one.dtype) for one in phrases}),
        "finite": all(bool(np.isfinite(one).all()) for one in phrases),
        "loud": max(float(np.abs(one).max()) for one in phrases),
        "runs_before_each": runs_before,
        "fast_seconds": [len(one) / 24_000 for one in fast],
        "long_s": len(long) / 24_000,
        "long_runs": runs[before:],
        "vocabulary": engine._model.tokenizer.vocab == make_config()["vocab"],
        "tokens": engine._model.tokenizer.tokenize(
            engine._model.tokenizer.phonemize(TEXT, "en-us")
        ),
    }
    return found | {"leak": _measure_leak(engine, folder, voice_config)}


def _count_runs(engine: Any) -> list[int]:
    """Return a list to which every run of the network appends its number of tokens."""
    session, runs = engine._model.sess, []
    inner = session.run

    def run(names: None, inputs: Any) -> Any:
        runs.append(inputs["input_ids"].shape[1])
        return inner(names, inputs)

    session.run = run
    return runs


def _measure_leak(engine: Any, folder: Path, voice_config: Any) -> dict[str, float]:
    """Return MiB of main memory with the engine, after closing it, and after a second one."""
    import psutil  # noqa: PLC0415

    from barnabee.gpu.engines.base import Device  # noqa: PLC0415
    from barnabee.gpu.engines.kokoro import KokoroTorch  # noqa: PLC0415
    from barnabee.gpu.model_runtime import release_pooled_memory  # noqa: PLC0415

    process = psutil.Process()

    def mib() -> float:
        return process.memory_info().rss / 2**20

    loaded = mib()
    engine.close()
    del engine
    release_pooled_memory()
    closed = mib()
    again = KokoroTorch.load(folder, voice_config, device=Device("cpu", 2))
    again.warm_up()
    again.close()
    del again
    release_pooled_memory()
    return {"loaded": loaded, "closed": closed, "again": mib()}


def _refuse(*_: object) -> NoReturn:
    msg = "the engine tried to reach the network"
    raise OSError(msg)


if __name__ == "__main__":
    command, target = sys.argv[1], Path(sys.argv[2])
    if command == "make":
        write_files(target)
    else:
        print(json.dumps(run_engine(target)))
