"""Paths of a local run: the files below `BARNABEE_HOME`, and the caches of models and builds."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from barnabee.core.files import FileVersion, read_versions
from barnabee.core.settings import read_variable

# sockaddr_un has 108 bytes for the path and its closing NUL (unix(7)).
_SOCKET_PATH_MAX = 107


@dataclass(frozen=True)
class Paths:
    """The files of one local run."""

    root: Path

    @property
    def data(self) -> Path:
        """Persistent data of the services."""
        return self.root / "data"

    @property
    def run(self) -> Path:
        """Files that are only valid while the runner is alive."""
        return self.root / "run"

    @property
    def secrets(self) -> Path:
        """Directory of secret files, mode 0700."""
        return self.root / "secrets"

    @property
    def log(self) -> Path:
        """The current log file; rotated ones lie beside it."""
        return self.root / "logs" / "barnabee.jsonl"

    @property
    def state(self) -> Path:
        return self.run / "state.json"

    @property
    def restart_requests(self) -> Path:
        """Directory of files named after the nodes that the runner is asked to restart."""
        return self.run / "restart"

    @property
    def lock(self) -> Path:
        """Lock file that the runner of this directory holds."""
        return self.run / "lock"

    @property
    def database(self) -> Path:
        return self.data / "barnabee.db"

    @property
    def run_id(self) -> str:
        """Id in the environment of every process of this directory; finds orphaned processes."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:16]

    @property
    def litestream_socket(self) -> Path:
        """Litestream's control socket; in the temporary directory when the path is too long."""
        socket = self.run / "litestream.sock"
        if len(str(socket)) <= _SOCKET_PATH_MAX:
            return socket
        return Path(tempfile.gettempdir()) / f"barnabee-{self.run_id}.sock"

    def read_configuration(self, system_file: Path) -> tuple[FileVersion, ...]:
        """Return the versions of the files that configure the services."""
        return read_versions((system_file, *sorted(self.secrets.glob("*"))))

    def make(self) -> None:
        """Create the directories with mode 0700."""
        for directory in (self.root, self.data, self.run, self.log.parent, self.secrets):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def local_paths() -> Paths:
    """Return the paths of `$BARNABEE_HOME`, or of `.barnabee` in the checkout."""
    home = read_variable("BARNABEE_HOME")
    if home:
        return Paths(Path(home).resolve())
    if (checkout_directory() / "pyproject.toml").is_file():
        return Paths(checkout_directory() / ".barnabee")
    state = read_variable("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Paths(Path(state) / "barnabee")


def checkout_directory() -> Path:
    """Return the directory that holds `src/`; it is a checkout only if it has pyproject.toml."""
    return Path(__file__).resolve().parents[3]


def cache_directory() -> Path:
    """Return the directory of files that can be downloaded or built again."""
    base = read_variable("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "barnabee"


def models_directory() -> Path:
    """Return `$BARNABEE_MODELS`, or the models' directory in the cache."""
    return Path(read_variable("BARNABEE_MODELS") or cache_directory() / "models")
