"""Where a local run keeps its files: one directory, `BARNABEE_HOME`, and the models' cache.

Knows names of files and nothing of what is in them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

# sockaddr_un has 108 bytes for the path and its closing NUL (unix(7)).
_SOCKET_PATH_MAX = 107


@dataclass(frozen=True)
class Paths:
    """The files of one local run."""

    root: Path

    @property
    def data(self) -> Path:
        """Return where services keep what must survive."""
        return self.root / "data"

    @property
    def run(self) -> Path:
        """Return where things lie that only live as long as the run."""
        return self.root / "run"

    @property
    def secrets(self) -> Path:
        """Return the directory of secret files, mode 0700."""
        return self.root / "secrets"

    @property
    def log(self) -> Path:
        """Return the newest log file."""
        return self.root / "logs" / "barnabee.jsonl"

    @property
    def state(self) -> Path:
        """Return the file that says what runs."""
        return self.run / "state.json"

    @property
    def lock(self) -> Path:
        """Return the file whose lock the runner of this directory holds."""
        return self.run / "lock"

    @property
    def database(self) -> Path:
        """Return the database file."""
        return self.data / "barnabee.db"

    @property
    def run_id(self) -> str:
        """Return what marks every process of this directory, so that leftovers can be found."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:16]

    @property
    def litestream_socket(self) -> Path:
        """Return Litestream's control socket; elsewhere when the path would be too long for one."""
        socket = self.run / "litestream.sock"
        if len(str(socket)) <= _SOCKET_PATH_MAX:
            return socket
        return Path(tempfile.gettempdir()) / f"barnabee-{self.run_id}.sock"

    def make(self) -> None:
        """Create the directories; only their owner may look into them."""
        for directory in (self.root, self.data, self.run, self.log.parent, self.secrets):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def local() -> Paths:
    """Return the paths of `$BARNABEE_HOME`, or of `.barnabee` in the checkout."""
    named = os.environ.get("BARNABEE_HOME")
    if named:
        return Paths(Path(named).resolve())
    if (checkout() / "pyproject.toml").is_file():
        return Paths(checkout() / ".barnabee")
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Paths(Path(state) / "barnabee")


def checkout() -> Path:
    """Return the directory that holds `src/`, which is a checkout only if it has pyproject.toml."""
    return Path(__file__).resolve().parents[3]


def cache() -> Path:
    """Return where what can be fetched again is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "barnabee"


def models() -> Path:
    """Return the models' directory: `$BARNABEE_MODELS`, or one in the cache."""
    return Path(os.environ.get("BARNABEE_MODELS") or cache() / "models")


def home_assistant(requirements: Path) -> Path:
    """Return the environment of the demo home; its name changes when `requirements` does."""
    named = os.environ.get("BARNABEE_HOME_ASSISTANT_VENV")
    if named:
        return Path(named)
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    return cache() / f"home-assistant-{digest}"
