"""Kokoro engine on torch beside the ONNX engine, with a small random network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from barnabee.core import manifest
from barnabee.gpu.phrases import split_phrases
from support import kokoro_network
from support.torch_env import run_in_torch


@pytest.mark.timeout(900)
def test_torch_engine_synthesizes_like_the_onnx_engine(tmp_path: Path) -> None:
    folder = tmp_path / "kokoro-v1.0"
    run_in_torch("support.kokoro_network", "make", str(folder))
    assert set(manifest.read_manifest(folder)) >= {
        "config.json",
        "kokoro-v1_0.pth",
        "voices/bm_george.pt",
    }
    found = json.loads(run_in_torch("support.kokoro_network", "try", str(folder)).splitlines()[-1])
    print(found)
    assert found["voices"] == ["barnabee", "af_heart", "am_michael", "bm_george"]
    assert (found["rate"], found["kinds"], found["finite"]) == (24_000, ["float32"], True)
    assert found["blend_off"] == 0
    assert found["vocabulary"]
    assert found["tokens"] == _read_here(kokoro_network.TEXT)
    # a phrase is out before the next is computed
    assert len(found["seconds"]) == len(split_phrases(kokoro_network.TEXT)) == 2
    assert found["runs_before_each"] == [1, 2]
    assert found["loud"] > 0.01
    for slow_s, fast_s in zip(found["seconds"], found["fast_seconds"], strict=True):
        assert fast_s == pytest.approx(slow_s / 2, rel=0.15)
    # 510 phonemes and two ends are what the network takes at once
    assert len(found["long_runs"]) > 1
    assert max(found["long_runs"]) <= 512
    leak = found["leak"]
    assert leak["closed"] < leak["loaded"] - 190  # the weights are 187 MiB
    assert leak["again"] < leak["closed"] + 60


def _read_here(text: str) -> list[int]:
    from kokoro_onnx.tokenizer import Tokenizer  # noqa: PLC0415 - heavy

    reader = Tokenizer()
    return list(reader.tokenize(reader.phonemize(text, "en-us")))
