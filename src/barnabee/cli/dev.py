"""`barnabee test` and `barnabee bench`: everything that must hold, on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from barnabee.core.errors import Misconfigured

_STATIC = {
    "ruff check": ("ruff", "check", "."),
    "ruff format": ("ruff", "format", "--check", "."),
    "mypy": ("mypy",),
    "import-linter": ("lint-imports",),
}
# Two files at a time, because most tests wait for a process to start; timings need the machine.
_TWO = ("-n", "2", "--dist", "loadfile")
_RUNS = {"pytest": ("-m", "not bench and not long and not alone", *_TWO)}
_SLOW_RUNS = {
    "pytest, what takes minutes": ("-m", "long", *_TWO),
    "pytest, one at a time": ("-m", "bench or alone", "-s"),
}
# With --all: what else a shared machine does fails a test now and then; what is wrong fails twice.
_AGAIN = ("--last-failed", "--last-failed-no-failures", "none")
_SOME_FAILED = 1
_NO_TESTS = 5  # pytest's exit status where the arguments chose none


def run_tests(
    ctx: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the timings and the tests that take minutes.")
    ] = False,
) -> None:
    """Check the code, then run the tests; further arguments go to pytest."""
    root = _checkout()
    environment = _prepare()
    failed = [name for name, command in _STATIC.items() if _run(name, command, environment, root)]
    runs = _RUNS | _SLOW_RUNS if everything else _RUNS
    ended = {
        name: _run(name, ("pytest", *chosen, *ctx.args), environment, root)
        for name, chosen in runs.items()
    }
    for name, chosen in runs.items() if everything else ():
        if ended[name] == _SOME_FAILED:
            marks = chosen[:2]
            command = ("pytest", *marks, "-s", *ctx.args, *_AGAIN)
            ended[name] = _run(f"{name}: what failed, once more", command, environment, root)
    # Arguments may choose tests of one run only, but not none at all.
    passing = {0, _NO_TESTS} if 0 in ended.values() else {0}
    failed += [name for name, status in ended.items() if status not in passing]
    if failed:
        typer.echo(f"failed: {', '.join(failed)}", err=True)
        raise typer.Exit(1)
    typer.echo("all green")


def bench(ctx: typer.Context) -> None:
    """Take the timings, side by side in one run; further arguments go to pytest."""
    command = ("pytest", "-m", "bench", "-s", *ctx.args)
    raise typer.Exit(_run("bench", command, _prepare(), _checkout()))


def _checkout() -> Path:
    from barnabee.up import paths

    if not (paths.checkout() / "tests").is_dir():
        raise Misconfigured(what="The tests are in a checkout of the repository, and this is none")
    return paths.checkout()


def _prepare() -> dict[str, str]:
    """Set up what the tests use; return the environment that names it."""
    from rich.console import Console

    from barnabee.core import system
    from barnabee.up import apt, paths, setup

    # What watches the house is Debian's; where it cannot be installed, its tests are skipped.
    home = setup.prepare(system.load(), Console(), demo_home=True, monitoring=apt.possible())
    return os.environ | {
        "BARNABEE_MODELS": str(paths.models()),
        "BARNABEE_HOME_ASSISTANT_VENV": str(home),
    }


def _run(name: str, command: tuple[str, ...], environment: dict[str, str], root: Path) -> int:
    """Run a program of this environment; return its exit status."""
    begun_s = time.monotonic()
    program = Path(sys.executable).parent / command[0]
    if not program.exists():
        hint = "start with ./barnabee, which installs requirements/dev.txt for this"
        raise Misconfigured(what=f"{command[0]} is not in this environment: {hint}")
    typer.echo(f"== {name}")
    status = subprocess.run([program, *command[1:]], env=environment, cwd=root, check=False)
    verdict = "ok" if status.returncode == 0 else f"FAILED ({status.returncode})"
    typer.echo(f"== {name}: {verdict} in {time.monotonic() - begun_s:.1f} s")
    return status.returncode
