"""Makes one model's folder in a Nix build: `build.py NAME`, with archives and downloads as JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from barnabee.up import model_files, model_pins

name = sys.argv[1]
model = model_pins.load(Path(os.environ["pins"])).model[name]
archives = {key: Path(path) for key, path in json.loads(os.environ["archives"]).items()}
scratch = Path(tempfile.mkdtemp())
downloads = {}
for key, path in json.loads(os.environ["downloads"]).items():
    downloads[key] = scratch / key  # `build` moves them, and the store is read-only
    shutil.copyfile(path, downloads[key])
model_files.build(model, archives, downloads, Path(os.environ["out"]))
