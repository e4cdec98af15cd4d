"""`barnabee fillers`: what the voice says while it works, recorded in advance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from barnabee.core.schema import System
    from barnabee.core.settings import Settings
    from barnabee.voice.filler_files import Maker, Samples

app = typer.Typer(help="What the voice says while it works.", no_args_is_help=True)


@app.callback()
def _fillers() -> None:
    """Hold the group together while it has one command."""


@app.command()
def generate(
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to put them (default: with the data).")
    ] = None,
) -> None:
    """Record every filler in the house's voice, unless it is there already."""
    from rich.console import Console
    from rich.progress import Progress

    from barnabee.core import system
    from barnabee.up import paths
    from barnabee.voice import filler_files

    graph = system.load()
    folder = out or paths.local().data / "fillers"
    names = filler_files.phrases(graph)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("recording", total=len(names))
        made = filler_files.generate(
            graph, maker(graph), folder, lambda _name: progress.advance(bar)
        )
    typer.echo(
        f"{folder}: {len(made.spoken)} recorded, {len(made.kept)} as they were, "
        f"{len(made.removed)} removed"
    )


def ensure(graph: System, folder: Path) -> None:
    """Record what is missing in `folder`, in a process that takes the engine's memory with it."""
    import subprocess
    import sys

    from barnabee.core.errors import SetUpFailed
    from barnabee.voice import filler_files

    missing = filler_files.stale(graph, maker(graph).identity, folder)
    if not missing:
        return
    typer.echo(f"recording {len(missing)} phrases in the house's voice (once)", err=True)
    command = [sys.executable, "-m", "barnabee", "fillers", "generate", "--out", str(folder)]
    if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
        reason, hint = "they could not be recorded", "run `./barnabee fillers generate`"
        raise SetUpFailed(what="the phrases of the voice", reason=reason, hint=hint)


def maker(graph: System) -> Maker:
    """Return who speaks; the engine is loaded when the first phrase is asked for."""
    from barnabee.core import manifest, settings
    from barnabee.gpu import engine_factory
    from barnabee.up import paths
    from barnabee.voice.filler_files import Maker

    chosen = settings.load(graph).model_copy(update={"models_dir": paths.models()})

    engine, files = engine_factory.main_files(graph, chosen, "tts")
    manifest_text = manifest.text(manifest.read(files))
    identity = {"engine": engine, "files": manifest_text, "voice": graph.voice.model_dump()}
    return Maker(_Speaker(graph, chosen), identity, graph.voice.sample_rate_hz)


class _Speaker:
    """Speaks a phrase in the house's voice."""

    def __init__(self, graph: System, chosen: Settings) -> None:
        self._graph, self._chosen = graph, chosen
        self._engine: Any = None

    def __call__(self, phrase: str) -> Samples:
        import numpy as np

        from barnabee.gpu import engine_factory

        if self._engine is None:
            self._engine = engine_factory.load_outside(self._graph, self._chosen, "tts")
        voice = self._graph.voice
        steps = self._engine.speak(phrase, voice=voice.name, speed=voice.speed_percent / 100)
        return np.concatenate(list(steps))
