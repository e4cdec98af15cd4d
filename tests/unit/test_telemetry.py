"""No library reports to its maker.

onnxruntime makes a device id when it is imported. Within seconds a thread of it sends the id,
operating system, CPU, memory and the path of the program.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

SOURCES = Path(__file__).parents[2] / "src"
PROGRAM = """
import os
import sys
from pathlib import Path

import numpy

from barnabee.gpu.engines.base import Device, open_session

session = open_session(Path(sys.argv[1]), device=Device())
session.run(None, {"x": numpy.zeros(1, numpy.float32)})
print("threads:", len(os.listdir("/proc/self/task")))
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", [x], [y])
    path = tmp_path / "identity.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def run_engine(model: Path, home: Path) -> str:
    """Open a session as the engines do and use it; return all output."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))
    }
    own = {"HOME": str(home), "PYTHONPATH": str(SOURCES), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(model)],
        env=environment | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_onnxruntime_makes_no_device_id_and_records_no_event(model: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    run_engine(model, home)
    assert list(home.iterdir()) == []


def test_onnxruntime_has_no_thread_that_sends_and_no_warning(model: Path) -> None:
    """Without a home directory, as in a unit, it would warn that the id is not stored."""
    assert run_engine(model, model / "no-folder") == "threads: 1\n"
