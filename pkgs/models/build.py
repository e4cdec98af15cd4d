"""Nix builder of one model's folder: `build.py NAME TARGET`.

PINS is the path of models.toml; ARCHIVES and DOWNLOADS are JSON objects that map a package or a
file to its path.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from barnabee.up import model_files, model_pins

name, target = sys.argv[1:]
model = model_pins.load_pins(Path(os.environ["PINS"])).model[name]
archives = {key: Path(path) for key, path in json.loads(os.environ["ARCHIVES"]).items()}
scratch = Path(tempfile.mkdtemp())
downloads = {}
for key, path in json.loads(os.environ["DOWNLOADS"]).items():
    downloads[key] = scratch / key  # build_model moves them; the Nix store is read-only
    shutil.copyfile(path, downloads[key])
model_files.build_model(model, archives, downloads, Path(target))
