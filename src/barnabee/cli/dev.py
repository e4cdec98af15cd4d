"""`barnabee test` and `barnabee bench`: static checks, tests and benchmarks of a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from barnabee.core.errors import Misconfigured

_STATIC = {
    "ruff check": ("ruff", "check", "."),
    "ruff format": ("ruff", "format", "--check", "."),
}
_MYPY = ("mypy",)  # runs beside the tests, which mostly wait for processes
# Three files at a time, in the order of the folders: those that wait longest come first.
_PARALLEL = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
_QUICK = "testpaths=tests/integration tests/contract tests/nix tests/unit"
_RUNS = {"pytest": ("-m", "not bench and not long", "-o", _QUICK, *_PARALLEL)}
_ALL_RUNS = {
    "pytest": (
        *("-m", "not bench and not alone"),
        *("-o", _QUICK.replace("tests/", "tests/long tests/", 1), *_PARALLEL),
    ),
    # Sound in real time, or a whole machine: nothing else runs beside these.
    "pytest, sequential tests": ("-m", "alone", "-o", "testpaths=tests/long"),
}
_BENCH = ("-m", "bench", "-o", "testpaths=tests/bench", "-s")
_SMOKE = {"BARNABEE_BENCH_SMOKE": "1"}
_NO_TESTS = 5  # pytest's exit status when the arguments select no test


def run_tests(
    ctx: typer.Context,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Run also the tests that take minutes, and each benchmark once."
        ),
    ] = False,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Only measure the GPU (options: --gpu -- --help).")
    ] = False,
) -> None:
    """Run the static checks and the tests; further arguments are passed to pytest."""
    root = _find_checkout()
    if gpu:
        raise typer.Exit(_measure_gpu(ctx.args, root))
    environment = _prepare_environment()
    failed = [name for name, command in _STATIC.items() if _run(name, command, environment, root)]
    with _run_beside("mypy", _MYPY, environment, root) as mypy:
        runs = _ALL_RUNS if everything else _RUNS
        statuses = {
            name: _run(name, ("pytest", *options, *ctx.args), environment, root)
            for name, options in runs.items()
        }
    if everything:
        command = ("pytest", *_BENCH, *_PARALLEL, *ctx.args)
        statuses["bench, smoke run"] = _run("bench, smoke run", command, environment | _SMOKE, root)
    # The arguments may select tests of one run only, but must select some.
    passing = {0, _NO_TESTS} if 0 in statuses.values() else {0}
    failed += [name for name, status in statuses.items() if status not in passing]
    failed += ["mypy"] if mypy.returncode else []
    if failed:
        typer.echo(f"failed: {', '.join(failed)}", err=True)
        raise typer.Exit(1)
    typer.echo("all checks passed")


def run_benchmarks(
    ctx: typer.Context,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Run each once with small sizes and without its limits.")
    ] = False,
) -> None:
    """Run the benchmarks with their limits; further arguments are passed to pytest."""
    environment = _prepare_environment() | (_SMOKE if smoke else {})
    command = ("pytest", *_BENCH, *(_PARALLEL if smoke else ()), *ctx.args)
    raise typer.Exit(_run("bench", command, environment, _find_checkout()))


def _measure_gpu(arguments: list[str], root: Path) -> int:
    """Run tests/gpu, which needs models and no Home Assistant; return its exit status."""
    from barnabee.up import paths

    environment = os.environ | {
        "BARNABEE_MODELS": str(paths.models_directory()),
        "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root / 'tests'}",
    }
    fetch = ("python", "-m", "barnabee", "models", "fetch")
    # Without a network the sections report which model is missing.
    _run("models", fetch, environment | {"BARNABEE_DEVICE": "cpu"}, root)
    return _run("gpu", ("python", "-m", "gpu", *arguments), environment, root)


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
    environment = dict(os.environ)
    # Tests start hundreds of Python processes: without bytecode each compiles all of its modules.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment | {
        "BARNABEE_MODELS": str(paths.models_directory()),
        "BARNABEE_HOME_ASSISTANT_VENV": str(home),
    }


def _run(name: str, command: tuple[str, ...], environment: dict[str, str], root: Path) -> int:
    """Run a program of this Python environment; return its exit status."""
    begun_s = time.monotonic()
    typer.echo(f"== {name}")
    done = subprocess.run(_find_command(command), env=environment, cwd=root, check=False)
    _report(name, done.returncode, time.monotonic() - begun_s)
    return done.returncode


@contextmanager
def _run_beside(
    name: str, command: tuple[str, ...], environment: dict[str, str], root: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program during the block; its output and exit status are there after it."""
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            _find_command(command), env=environment, cwd=root, stdout=output, stderr=output
        ) as process,
    ):
        yield process
        process.wait()
        output.seek(0)
        typer.echo(f"== {name}\n{output.read().decode(errors='replace')}", nl=False)
        _report(name, process.returncode)


def _find_command(command: tuple[str, ...]) -> list[str]:
    program = Path(sys.executable).parent / command[0]
    if not program.exists():
        hint = "start with ./barnabee, which installs requirements/dev.txt"
        raise Misconfigured(what=f"{command[0]} is not in this environment: {hint}")
    return [str(program), *command[1:]]


def _report(name: str, status: int, took_s: float | None = None) -> None:
    verdict = "ok" if status == 0 else f"FAILED ({status})"
    typer.echo(f"== {name}: {verdict}" + (f" in {took_s:.1f} s" if took_s else ""))
