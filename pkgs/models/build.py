"""Makes one model's folder in a Nix build: `build.py NAME TARGET`.

PINS is models.toml; ARCHIVES and DOWNLOADS are JSON, a path by the name of a package or of a file.
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
model = model_pins.load(Path(os.environ["PINS"])).model[name]
archives = {key: Path(path) for key, path in json.loads(os.environ["ARCHIVES"]).items()}
scratch = Path(tempfile.mkdtemp())
downloads = {}
for key, path in json.loads(os.environ["DOWNLOADS"]).items():
    downloads[key] = scratch / key  # `build` moves them, and the store is read-only
    shutil.copyfile(path, downloads[key])
model_files.build(model, archives, downloads, Path(target))
