"""`barnabee test` and `barnabee bench`: static checks, tests and benchmarks of a checkout."""

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
}
# Two files at a time: most tests wait for a process. Those with sound in real time run alone.
_PARALLEL = ("-n", "2", "--dist", "loadfile")
_RUNS = {"pytest": ("-m", "not bench and not long and not alone", *_PARALLEL)}
_SLOW_RUNS = {
    "pytest, long tests": ("-m", "long", *_PARALLEL),
    "pytest, sequential tests": ("-m", "alone and not bench"),
}
_NO_TESTS = 5  # pytest's exit status when the arguments select no test


def run_tests(
    ctx: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Run also the tests that take minutes.")
    ] = False,
) -> None:
    """Run the static checks and the tests; further arguments are passed to pytest."""
    root = _find_checkout()
    environment = _prepare_environment()
    failed = [name for name, command in _STATIC.items() if _run(name, command, environment, root)]
    runs = _RUNS | _SLOW_RUNS if everything else _RUNS
    statuses = {
        name: _run(name, ("pytest", *options, *ctx.args), environment, root)
        for name, options in runs.items()
    }
    # The arguments may select tests of one run only, but must select some.
    passing = {0, _NO_TESTS} if 0 in statuses.values() else {0}
    failed += [name for name, status in statuses.items() if status not in passing]
    if failed:
        typer.echo(f"failed: {', '.join(failed)}", err=True)
        raise typer.Exit(1)
    typer.echo("all checks passed")


def run_benchmarks(ctx: typer.Context) -> None:
    """Run the benchmarks with their limits; further arguments are passed to pytest."""
    command = ("pytest", "-m", "bench", "-s", *ctx.args)
    raise typer.Exit(_run("bench", command, _prepare_environment(), _find_checkout()))


def _find_checkout() -> Path:
    from barnabee.up import paths

    if not (paths.checkout_directory() / "tests").is_dir():
        raise Misconfigured(what="The tests need a checkout of the repository")
    return paths.checkout_directory()


def _prepare_environment() -> dict[str, str]:
    """Set up models and Home Assistant; return the environment variables that name them."""
    from rich.console import Console

    from barnabee.core import system
    from barnabee.up import packages, paths, setup

    # Tests of the monitoring programs are skipped where these cannot be installed.
    home = setup.prepare_machine(
        system.load_system(),
        Console(),
        demo_home=True,
        monitoring=packages.can_install_packages(),
    )
    return os.environ | {
        "BARNABEE_MODELS": str(paths.models_directory()),
        "BARNABEE_HOME_ASSISTANT_VENV": str(home),
    }


def _run(name: str, command: tuple[str, ...], environment: dict[str, str], root: Path) -> int:
    """Run a program of this Python environment; return its exit status."""
    begun_s = time.monotonic()
    program = Path(sys.executable).parent / command[0]
    if not program.exists():
        hint = "start with ./barnabee, which installs requirements/dev.txt"
        raise Misconfigured(what=f"{command[0]} is not in this environment: {hint}")
    typer.echo(f"== {name}")
    done = subprocess.run([program, *command[1:]], env=environment, cwd=root, check=False)
    verdict = "ok" if done.returncode == 0 else f"FAILED ({done.returncode})"
    typer.echo(f"== {name}: {verdict} in {time.monotonic() - begun_s:.1f} s")
    return done.returncode
