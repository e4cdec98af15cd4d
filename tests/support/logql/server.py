"""A real server of LogQL for the tests: qryn over chDB, two processes beside ours.

Both are made once in the user's cache (about 1 GB), so tests that use this carry the marker `long`.
Known of qryn 3.2: structured metadata is taken and thrown away, so `| trace_id="…"` without
`| json` finds nothing there; that form is Loki's alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.programs import require_program
from support.rival_embedders import make_http_probe, make_port_probe, run_server
from support.torch_env import make_pinned_python
from support.wait import find_free_port

HERE = Path(__file__).resolve().parent
INSTALL_LIMIT_S = 900


@contextmanager
def run_logql_server(directory: Path) -> Iterator[str]:
    """Run the server until the end of the block; yield its URL."""
    require_program("npm", "npm")
    python, modules = make_pinned_python("logql", "logql.txt"), _qryn()
    directory.mkdir(parents=True, exist_ok=True)
    below, port = find_free_port(), find_free_port()
    bridge = [python, HERE / "bridge.py", str(below), str(directory / "clickhouse")]
    environment = {
        "CLICKHOUSE_SERVER": "127.0.0.1",
        "CLICKHOUSE_PORT": str(below),
        "CLICKHOUSE_DB": "logs",
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    with (
        run_server(bridge, ready=make_port_probe(below), log=directory / "bridge.log"),
        run_server(
            ["node", modules / "qryn" / "qryn_node.js"],
            ready=make_http_probe(f"{url}/ready"),
            log=directory / "qryn.log",
            environment=environment,
        ),
    ):
        yield url


def _qryn() -> Path:
    """Return the node_modules with qryn, made from package-lock.json when absent."""
    digest = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barnabee"
    home = cache / f"qryn-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".qryn.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "whole").is_file():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, home)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(
                command,
                cwd=home,
                capture_output=True,
                text=True,
                timeout=INSTALL_LIMIT_S,
                check=False,
            )
            assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
            (home / "whole").touch()
    return home / "node_modules"
