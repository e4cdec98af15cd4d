"""No library reports to its maker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"


def test_onnxruntime_makes_no_device_id_and_records_no_event(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    program = "import barnabee, onnxruntime; onnxruntime.SessionOptions()"
    subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"HOME": str(tmp_path), "PYTHONPATH": str(SOURCES)},
        check=True,
    )
    assert list(tmp_path.iterdir()) == []
