"""Small real NeMo-style TDT export that recognises tones as words.

Built with the `onnx` package, with the names, shapes and states of NeMo's export and constructed
weights. A tone of TONE_S in noise and silence is one token. A tone equal to the one two tokens
before is "again", which requires that the decoder's states are carried from step to step.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from barnabee.audio.samples import STT_RATE_HZ
from barnabee.core import manifest

# tone in Hz -> token; the underscore is SentencePiece's word prefix
TONES = {500: "▁turn", 900: "▁on", 1400: "▁light", 2000: "s", 2800: "▁stop", 3800: "."}
AGAIN = "▁again"
TONE_S, GAP_S = 0.24, 0.4
BANDS = {"parakeet-0.6b": 128, "parakeet-1.1b": 80}
DURATIONS = (0, 1, 2, 3, 4)
SUBSAMPLING = 8
SILENCE_LEVEL = 1e-3
_HZ_MAX = 8000


def make_tones(*tones_hz: int, gap_s: float = GAP_S, noise: float = SILENCE_LEVEL) -> NDArray:
    """Return tones with gaps around them, at 16 kHz."""
    gap = np.zeros(int(gap_s * STT_RATE_HZ), np.float32)
    times = np.arange(int(TONE_S * STT_RATE_HZ)) / STT_RATE_HZ
    parts = [gap]
    for hz in tones_hz:
        parts += [(0.3 * np.sin(2 * np.pi * hz * times)).astype(np.float32), gap]
    joined = np.concatenate(parts)
    hiss = np.random.default_rng(0).normal(0, noise, len(joined))
    return (joined + hiss).astype(np.float32)


def write_export(
    folder: Path, *, kind: str = "parakeet-0.6b", suffix: str = "", frames: int | str = "t"
) -> Path:
    """Write the export and its manifest into `folder`.

    `suffix` is ".int8" for a quantised export; `frames` fixes the input length, in frames of 10 ms.
    """
    folder.mkdir(parents=True)
    bands = BANDS[kind]
    tokens = [*TONES.values(), AGAIN, "<blk>"]
    lines = [f"{token} {number}\n" for number, token in enumerate(tokens)]
    (folder / "vocab.txt").write_text("".join(lines), encoding="utf-8")
    config = {"model_type": "nemo-conformer-tdt", "features_size": bands, "subsampling_factor": 8}
    (folder / "config.json").write_text(json.dumps(config))
    onnx.save(_encoder(bands, frames), folder / f"encoder-model{suffix}.onnx")
    onnx.save(_decoder_joint(), folder / f"decoder_joint-model{suffix}.onnx")
    write_manifest(folder)
    return folder


def write_manifest(folder: Path) -> None:
    """Write the manifest of the files in `folder`."""
    manifest.write_manifest(folder)


def _encoder(bands: int, frames: int | str) -> onnx.ModelProto:
    """audio_signal (b, bands, t), length (b) -> outputs (b, d, t / 8), encoded_lengths (b)."""
    nodes = [
        helper.make_node("MatMul", ["filters", "audio_signal"], ["filtered"]),
        helper.make_node("Pad", ["filtered", "pads"], ["padded"]),
        helper.make_node(
            "AveragePool",
            ["padded"],
            ["pooled"],
            kernel_shape=[SUBSAMPLING],
            strides=[SUBSAMPLING],
        ),
        helper.make_node("Sub", ["pooled", "threshold"], ["above"]),
        helper.make_node("Relu", ["above"], ["outputs"]),
        helper.make_node("Add", ["length", "seven"], ["more"]),
        helper.make_node("Div", ["more", "eight"], ["encoded_lengths"]),
    ]
    constants = {
        "filters": _make_filters(bands),
        "pads": np.array([0, 0, 0, 0, 0, SUBSAMPLING - 1], np.int64),
        "threshold": np.array(0.9, np.float32),
        "seven": np.array(SUBSAMPLING - 1, np.int64),
        "eight": np.array(SUBSAMPLING, np.int64),
    }
    inputs = [("audio_signal", TensorProto.FLOAT, ["b", bands, frames]), ("length", _INT64, ["b"])]
    outputs = [
        ("outputs", TensorProto.FLOAT, ["b", len(TONES), "s"]),
        ("encoded_lengths", _INT64, ["b"]),
    ]
    return _model("encoder", nodes, constants, inputs, outputs)


def _make_filters(bands: int) -> NDArray:
    """Return (tones, bands): the level of a tone's bands relative to all others."""
    mels = np.linspace(0, _mel(_HZ_MAX), bands + 2)[1:-1]
    filters = np.full((len(TONES), bands), -1 / bands, np.float32)
    for row, hz in enumerate(TONES):
        centre = int(np.argmin(np.abs(mels - _mel(hz))))
        filters[row, centre - 1 : centre + 2] += 1 / 3
    return filters


def _mel(hz: float) -> float:
    """Slaney's scale, as in NeMo: linear up to 1 kHz, logarithmic above."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000) / np.log(6.4))


def _decoder_joint() -> onnx.ModelProto:
    """One step: encoder output, last token and two states -> logits (v + durations).

    The first state is a shift register of the last two tokens; the second is passed through.
    """
    tones, vocabulary = len(TONES), len(TONES) + 2
    embed = np.zeros((vocabulary, tones), np.float32)
    embed[:tones, :tones] = np.eye(tones)
    to_tokens = np.zeros((tones, vocabulary + len(DURATIONS)), np.float32)
    to_tokens[:, :tones] = 20 * np.eye(tones)
    to_tokens[:, vocabulary + 4] = 20  # a tone lasts four frames, silence one
    bias = np.zeros(vocabulary + len(DURATIONS), np.float32)
    bias[vocabulary - 1], bias[vocabulary + 1] = 4, 4
    again = np.zeros(vocabulary + len(DURATIONS), np.float32)
    again[vocabulary - 2] = 30
    nodes = [
        helper.make_node("Squeeze", ["encoder_outputs", "last_axis"], ["encoded"]),
        helper.make_node("Gather", ["embed", "targets"], ["embedded"]),
        helper.make_node("Slice", ["input_states_1", "zero", "one", "zero"], ["before"]),
        helper.make_node("Concat", ["embedded", "before"], ["output_states_1"], axis=0),
        helper.make_node("Identity", ["input_states_2"], ["output_states_2"]),
        helper.make_node("MatMul", ["encoded", "to_tokens"], ["from_sound"]),
        helper.make_node("Squeeze", ["before", "zero"], ["before_row"]),
        helper.make_node("Mul", ["encoded", "before_row"], ["same"]),
        helper.make_node("ReduceSum", ["same", "row_axis"], ["sameness"], keepdims=1),
        helper.make_node("Mul", ["sameness", "again"], ["from_state"]),
        helper.make_node("Sum", ["from_sound", "from_state", "bias"], ["row"]),
        helper.make_node("Unsqueeze", ["row", "middle"], ["outputs"]),
        helper.make_node("Identity", ["target_length"], ["prednet_lengths"]),
    ]
    constants = {
        "last_axis": np.array([2], np.int64),
        "row_axis": np.array([1], np.int64),
        "middle": np.array([1, 2], np.int64),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "embed": embed,
        "to_tokens": to_tokens,
        "bias": bias,
        "again": again,
    }
    state = [2, "b", tones]
    inputs = [
        ("encoder_outputs", TensorProto.FLOAT, ["b", tones, "s"]),
        ("targets", TensorProto.INT32, ["b", "u"]),
        ("target_length", TensorProto.INT32, ["b"]),
        ("input_states_1", TensorProto.FLOAT, state),
        ("input_states_2", TensorProto.FLOAT, state),
    ]
    outputs = [
        ("outputs", TensorProto.FLOAT, ["b", "s", "u", vocabulary + len(DURATIONS)]),
        ("prednet_lengths", TensorProto.INT32, ["b"]),
        ("output_states_1", TensorProto.FLOAT, state),
        ("output_states_2", TensorProto.FLOAT, state),
    ]
    return _model("decoder_joint", nodes, constants, inputs, outputs)


_INT64 = TensorProto.INT64
_Value = tuple[str, int, list[int | str]]


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray],
    inputs: list[_Value],
    outputs: list[_Value],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    onnx.checker.check_model(made)
    return made
