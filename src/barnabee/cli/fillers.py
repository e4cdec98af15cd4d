"""`barnabee fillers`: recordings of the phrases spoken while a reply takes time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.audio.samples import Samples
    from barnabee.core.schema import System
    from barnabee.core.settings import Settings
    from barnabee.voice.fillers import PhraseSynthesizer

app = typer.Typer(help="Recorded filler phrases.", no_args_is_help=True)


@app.callback()
def _fillers() -> None:
    """Make `generate` a subcommand: typer would drop the name of a single command."""


@app.command("generate")
def generate_fillers(
    out: Annotated[
        Path | None, typer.Option("--out", help="Output directory; default: in the data directory.")
    ] = None,
) -> None:
    """Record missing and outdated fillers in the configured voice."""
    from rich.console import Console
    from rich.progress import Progress

    from barnabee.core import system
    from barnabee.up import paths
    from barnabee.voice import fillers

    graph = system.load_system()
    directory = out or paths.local_paths().data / "fillers"
    names = fillers.list_phrases(graph)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("recording", total=len(names))
        result = fillers.generate_recordings(
            graph, make_speaker(graph), directory, lambda _name: progress.advance(bar)
        )
    echo(
        f"{directory}: {len(result.recorded)} recorded, {len(result.kept)} unchanged, "
        f"{len(result.removed)} removed"
    )


def ensure_fillers(graph: System, directory: Path) -> None:
    """Record missing fillers in a subprocess, which frees the engine's memory when it ends."""
    import subprocess
    import sys

    from barnabee.core.errors import SetupFailed
    from barnabee.voice import fillers

    missing = fillers.find_outdated(graph, make_speaker(graph).identity, directory)
    if not missing:
        return
    echo(f"recording {len(missing)} filler phrases (once)", err=True)
    command = [sys.executable, "-m", "barnabee", "fillers", "generate", "--out", str(directory)]
    if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
        reason, hint = "the recording failed", "run `./barnabee fillers generate`"
        raise SetupFailed(what="the filler phrases", reason=reason, hint=hint)


def make_speaker(graph: System) -> PhraseSynthesizer:
    """Return the synthesizer; its engine is loaded at the first phrase."""
    from barnabee.core import manifest, settings
    from barnabee.gpu import engine_factory
    from barnabee.up import paths
    from barnabee.voice.fillers import PhraseSynthesizer

    configured = settings.read_settings(graph).model_copy(
        update={"models_dir": paths.models_directory()}
    )

    engine, files = engine_factory.find_preferred_files(graph, configured, "tts")
    manifest_text = manifest.render_manifest(manifest.read_manifest(files))
    identity = {"engine": engine, "files": manifest_text, "voice": graph.voice.model_dump()}
    return PhraseSynthesizer(_Speaker(graph, configured), identity, graph.voice.sample_rate_hz)


class _Speaker:
    """Synthesizes a phrase in the configured voice."""

    def __init__(self, graph: System, configured: Settings) -> None:
        self._graph, self._configured = graph, configured
        self._engine: Any = None

    def __call__(self, phrase: str) -> Samples:
        import numpy as np

        from barnabee.gpu import engine_factory

        if self._engine is None:
            self._engine = engine_factory.load_engine(self._graph, self._configured, "tts")
        voice = self._graph.voice
        chunks = self._engine.speak(phrase, voice=voice.name, speed=voice.speed_percent / 100)
        return np.concatenate(list(chunks))
