"""Language model engine: llama.cpp's server as a child process, reached through a Unix socket.

The child has this process' environment, so LLAMA_ARG_* set further options. It logs errors only,
never what was asked.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from barnabee.core import manifest
from barnabee.core.errors import DependencyDown, Misconfigured
from barnabee.gpu.engines.base import Device

LOAD_LIMIT_S = 110.0  # the VRAM watchdog allows 120 s
WARM_UP_LIMIT_S = 60.0
CHAT_PATH = "/v1/chat/completions"
_URL = "http://llama-server"
_POLL_S = 0.05
_OK = 200


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Program and options of the server; it adds its process to `children` while it runs."""

    program: str
    context_tokens: int
    device: Device
    children: set[subprocess.Popen[bytes]]


class LlamaServer:
    """A running server with a loaded model."""

    def __init__(self, model: Path, options: ServerOptions) -> None:
        """Start the server; use `load`."""
        self._children = options.children
        self._directory = tempfile.TemporaryDirectory(prefix="barnabee-llm-")
        self._socket = str(Path(self._directory.name) / "llm.sock")
        self._log = Path(self._directory.name) / "errors.log"
        # Without idle connections, which would outlive the server.
        limits = httpx.Limits(max_keepalive_connections=0)
        transport = httpx.AsyncHTTPTransport(uds=self._socket, limits=limits)
        self.client = httpx.AsyncClient(transport=transport, base_url=_URL)
        with self._log.open("wb") as errors:
            self._process = subprocess.Popen(
                make_arguments(model, self._socket, options),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        self._children.add(self._process)

    @classmethod
    def load(cls, files: Path, options: ServerOptions) -> LlamaServer:
        """Start the server with a .gguf file, or the model.gguf of a verified folder.

        Raises ModelMissing, ModelDamaged, Misconfigured without the program, or DependencyDown.
        """
        server = cls(find_model(files), options)
        try:
            server._wait_until_loaded()
        except BaseException:
            server.close()
            raise
        return server

    def warm_up(self) -> None:
        """Generate one token; without one the server is ended and DependencyDown raised."""
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        try:
            with self._open_client() as client:
                client.post(CHAT_PATH, json=body, timeout=WARM_UP_LIMIT_S).raise_for_status()
        except httpx.HTTPError as error:
            self.close()
            raise DependencyDown(dependency="llama-server", reason=str(error)) from error

    def close(self) -> None:
        """End the server, which frees its memory; it has nothing to save."""
        self._process.kill()
        self._process.wait()
        self._children.discard(self._process)
        self._directory.cleanup()

    def _wait_until_loaded(self) -> None:
        deadline_s = time.monotonic() + LOAD_LIMIT_S
        with self._open_client() as client:
            while not _is_loaded(client):
                if self._process.poll() is not None:
                    lines = self._log.read_text("utf-8", "replace").split("\n")
                    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
                    reason = f"it ended with status {self._process.returncode}: {last}"
                    raise DependencyDown(dependency="llama-server", reason=reason)
                if time.monotonic() > deadline_s:
                    reason = f"the model was not loaded within {LOAD_LIMIT_S:.0f} s"
                    raise DependencyDown(dependency="llama-server", reason=reason)
                time.sleep(_POLL_S)

    def _open_client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.HTTPTransport(uds=self._socket), base_url=_URL)


def make_arguments(model: Path, socket: str, options: ServerOptions) -> list[str]:
    """Return the command line; Misconfigured when there is no such program."""
    program = shutil.which(options.program)
    if program is None:
        what = f"The language model's server {options.program!r} is not installed"
        raise Misconfigured(what=f"{what}; set BARNABEE_LLAMA_SERVER to llama.cpp's llama-server")
    values = {
        "model": str(model),
        "host": socket,
        "ctx-size": str(options.context_tokens),
        "parallel": "1",
        "cache-ram": "0",  # its default is 8 GiB outside the budget
        "log-verbosity": "1",
        "threads": str(options.device.threads),
        **({"device": "none"} if options.device.kind == "cpu" else {"n-gpu-layers": "999"}),
    }
    arguments = (text for key, value in values.items() for text in (f"--{key}", value))
    return [program, *arguments, "--jinja", "--no-webui", "--offline"]


def find_model(files: Path) -> Path:
    """Return the model file of `files`: itself, or that of a folder."""
    if files.suffix != ".gguf":
        manifest.verify_directory(files)
        return files / "model.gguf"
    if not files.is_file():
        raise Misconfigured(what=f"The language model's file {files} does not exist")
    return files


def _is_loaded(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == _OK
    except httpx.TransportError:
        return False
