"""MiniLM's ONNX graph without weights: generates src/barnabee/gpu/engines/minilm.onnx.

The weights stay in the pinned `model.safetensors`, which the graph references as external data. So
a CPU computes with the same numbers as a GPU.

    make_minilm_graph.py MODEL.SAFETENSORS [TARGET]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

TARGET = Path(__file__).parents[1] / "src/barnabee/gpu/engines/minilm.onnx"
LAYERS, HEADS, EPSILON = 6, 12, 1e-12  # config.json of the model
FUSED = "com.microsoft"  # onnxruntime's fused operators


class Graph:
    """Builder of the graph: its nodes and their tensors by name."""

    def __init__(self, weights: Path) -> None:
        with weights.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            self._contents = json.loads(file.read(length))
        self._file, self._start = weights.name, 8 + length
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}

    def weight(self, name: str) -> str:
        """Add a tensor that references the weights' file; return its name."""
        entry = self._contents[name]
        begin, end = entry["data_offsets"]
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=entry["shape"])
        tensor.data_location = TensorProto.EXTERNAL
        reference = {"location": self._file, "offset": self._start + begin, "length": end - begin}
        for key, value in reference.items():
            tensor.external_data.add(key=key, value=str(value))
        self.tensors[name] = tensor
        return name

    def constant(self, name: str, values: list[int]) -> str:
        """Add an integer constant; return its name."""
        self.tensors[name] = helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
        return name

    def add(
        self, kind: str, inputs: list[str], output: str, domain: str = "", **named: object
    ) -> str:
        """Add a node and return its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **named))
        return output

    def matrix(self, name: str) -> str:
        """Add a linear layer's weights as (in, out); torch stores (out, in)."""
        return self.add("Transpose", [self.weight(f"{name}.weight")], f"{name}.T", perm=[1, 0])


def add_embedding(graph: Graph) -> str:
    """Add word, position and token type embeddings; output (n, width, 384)."""
    table = "embeddings.{}_embeddings.weight".format
    width = graph.add("Shape", ["input_ids"], "width", start=1, end=2)
    first, second = graph.constant("zero", [0]), graph.constant("one", [1])
    places = graph.add("Slice", [graph.weight(table("position")), first, width, first], "places")
    kind = graph.add("Slice", [graph.weight(table("token_type")), first, second, first], "kind")
    words = graph.add("Gather", [graph.weight(table("word")), "input_ids"], "words")
    placed = graph.add("Add", [words, graph.add("Add", [places, kind], "placed_kind")], "placed")
    norm = [graph.weight(f"embeddings.LayerNorm.{part}") for part in ("weight", "bias")]
    return graph.add("LayerNormalization", [placed, *norm], "embedded", epsilon=EPSILON)


def add_layer(graph: Graph, number: int, hidden: str, mask: str) -> str:
    """Add one transformer layer: attention, then two linear layers."""
    name = f"encoder.layer.{number}"
    heads = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    weights = graph.add("Concat", [graph.matrix(one) for one in heads], f"{name}.qkv", axis=1)
    biases = [graph.weight(f"{one}.bias") for one in heads]
    bias = graph.add("Concat", biases, f"{name}.qkv.bias", axis=0)
    inputs = [hidden, weights, bias, mask]
    seen = graph.add("Attention", inputs, f"{name}.seen", FUSED, num_heads=HEADS)
    attended = _added(graph, f"{name}.attention.output", seen, hidden)
    inner = f"{name}.intermediate.dense"
    wide = graph.add("MatMul", [attended, graph.matrix(inner)], f"{name}.wide")
    bent = graph.add("BiasGelu", [wide, graph.weight(f"{inner}.bias")], f"{name}.bent", FUSED)
    return _added(graph, f"{name}.output", bent, attended)


def _added(graph: Graph, name: str, new: str, old: str) -> str:
    """Add a linear layer of `new`, the residual `old` and the layer norm."""
    out = graph.add("MatMul", [new, graph.matrix(f"{name}.dense")], f"{name}.out")
    parts = ("LayerNorm.weight", "LayerNorm.bias", "dense.bias")
    inputs = [out, old, *(graph.weight(f"{name}.{part}") for part in parts)]
    return graph.add("SkipLayerNormalization", inputs, f"{name}.added", FUSED, epsilon=EPSILON)


def build_model(weights: Path) -> bytes:
    """Return the serialized graph for these weights."""
    graph = Graph(weights)
    hidden = add_embedding(graph)
    mask = graph.add("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    for number in range(LAYERS):
        hidden = add_layer(graph, number, hidden, mask)
    graph.add("Identity", [hidden], "last_hidden_state")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "width"])
        for name in ("input_ids", "attention_mask")
    ]
    shape = ["n", "width", 384]
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape)]
    made = helper.make_graph(graph.nodes, "minilm", inputs, outputs, list(graph.tensors.values()))
    sets = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
    return helper.make_model(made, opset_imports=sets, ir_version=8).SerializeToString(
        deterministic=True
    )


if __name__ == "__main__":
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else TARGET  # noqa: PLR2004 - the optional TARGET
    target.write_bytes(build_model(Path(sys.argv[1])))
