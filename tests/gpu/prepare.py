"""Folder with wheels and models for a machine without a network (`--prepare DIR`).

Needs the package `packaging`, which the development environment has.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from gpu.environment import read_cuda_requirements
from gpu.sections import SMALL_PARAKEET

MODELS = ("minilm", "openwakeword", "whisper-base", "kokoro-int8")
PLATFORMS = tuple(
    f"manylinux{version}" for version in ("_2_28", "_2_27", "_2_24", "_2_17", "2014", "2010", "1")
)
# Packages of other services: voice, the language model, backups.
NOT_NEEDED = frozenset({"pipecat-ai", "aiortc", "aioice", "pylibsrtp", "openai", "pyrage"})
NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("a machine without a network").add_argument
    add("--prepare", type=Path, metavar="DIR", help="collect wheels and models there, and end")
    add("--python-version", default="3.12", metavar="X.Y", help="of that machine")
    help_text = "its CUDA libraries; 13: those of its torch, none are collected"
    add("--cuda", choices=("12", "13"), default="12", help=help_text)
    add("--installed", type=Path, metavar="FILE", help="its `pip freeze`: those are left out")


def run(options: argparse.Namespace) -> int:
    """Collect everything; print what is to be done with it."""
    left_out = set(NOT_NEEDED) | (_read_names(options.installed) if options.installed else set())
    text = read_cuda_requirements(options.cuda)
    blocks = select_requirements(text, options.python_version, left_out)
    if options.cuda == "13":  # that machine's torch has brought its own
        blocks = [one for one in blocks if not one.startswith("nvidia-") or "-cu12" not in one]
    if not blocks:
        print(f"--python-version: requirements/gpu.txt has nothing for {options.python_version}")
        return 2
    options.prepare.mkdir(parents=True, exist_ok=True)
    listing = options.prepare / "requirements.txt"
    listing.write_text("\n".join(blocks) + "\n", encoding="utf-8")
    status = _download(listing, options.prepare / "wheels", options.python_version)
    missing = _copy_models(options.prepare / "models")
    if status or missing:
        print(f"not complete: pip exited with {status}; models missing: {missing or 'none'}")
        return 1
    size_mib = sum(one.stat().st_size for one in options.prepare.rglob("*") if one.is_file()) >> 20
    print(f"{options.prepare}: {len(blocks)} packages and {len(MODELS)} models, {size_mib} MiB")
    return 0


def select_requirements(text: str, python_version: str, left_out: set[str]) -> list[str]:
    """Return the requirements for a Linux machine, with hashes and without markers. Pure."""
    from packaging.markers import default_environment  # noqa: PLC0415 - only for this
    from packaging.requirements import Requirement  # noqa: PLC0415

    environment = {name: str(value) for name, value in default_environment().items()}
    environment |= {
        "python_version": python_version,
        "python_full_version": f"{python_version}.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
    }
    chosen = []
    for block in text.replace("\\\n", " ").splitlines():
        line, *hashes = block.split("--hash=")
        if not line.strip() or line.startswith("#"):
            continue
        requirement = Requirement(line.strip())
        applies = requirement.marker is None or requirement.marker.evaluate(environment)
        if applies and _normalise(requirement.name) not in left_out:
            pins = " ".join(f"--hash={one.strip()}" for one in hashes)
            chosen.append(f"{requirement.name}{requirement.specifier} {pins}")
    return chosen


def _read_names(path: Path) -> set[str]:
    """Return the package names of `pip freeze` or `pip list`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {_normalise(found[1]) for line in lines if (found := NAME.match(line.strip()))}


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _download(listing: Path, target: Path, python_version: str) -> int:
    """Download wheels with their hashes checked; those that have none are built here."""
    platforms = [f"--platform={name}_x86_64" for name in PLATFORMS]
    options = ["--no-deps", "--require-hashes", "--disable-pip-version-check"]
    source = _find_source_packages(listing)
    pip = [sys.executable, "-m", "pip"]
    wheels, built = listing.with_suffix(".wheels"), listing.with_suffix(".source")
    lines = listing.read_text(encoding="utf-8").splitlines()
    wheels.write_text("\n".join(one for one in lines if _name(one) not in source))
    built.write_text("\n".join(one for one in lines if _name(one) in source))
    command = [*pip, "download", *options, "--only-binary=:all:", *platforms]
    command += [f"--python-version={python_version}", "--implementation=cp"]
    status = subprocess.run([*command, "-d", target, "-r", wheels], check=False).returncode
    if built.read_text():
        command = [*pip, "wheel", *options, "-w", str(target), "-r", str(built)]
        status = status or subprocess.run(command, check=False).returncode
    wheels.unlink()
    built.unlink()
    return status


def _name(line: str) -> str:
    return _normalise(line.partition("==")[0])


def _find_source_packages(listing: Path) -> set[str]:
    """Return the pure-Python packages of the list that are published as source only."""
    return {"docopt"} & {_name(line) for line in listing.read_text().splitlines()}


def _copy_models(target: Path) -> list[str]:
    """Copy the models from BARNABEE_MODELS; return the names of those that are not there."""
    source = Path(os.environ["BARNABEE_MODELS"])
    missing = [name for name in MODELS if not (source / name / "manifest.json").is_file()]
    for name in set(MODELS) - set(missing):
        shutil.copytree(source / name, target / name, dirs_exist_ok=True)
    if find_spec("onnx") and not (target / SMALL_PARAKEET).exists():
        from support import parakeet_tdt  # noqa: PLC0415 - needs the development environment

        parakeet_tdt.write_export(target / SMALL_PARAKEET)
    return missing
