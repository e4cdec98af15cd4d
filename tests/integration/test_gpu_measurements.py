"""`./barnabee test --gpu` on machines that lack things, and its sections that need no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpu import __main__ as script
from gpu.prepare import select_requirements
from gpu.report import MISSING, RESULTS, Recorder, Row, read_rows, render_table
from gpu.sections import SECTIONS
from support.gpu import find_models_dir

ROOT = Path(__file__).resolve().parents[2]


def measure(output: Path, *options: str) -> tuple[int, list[Row]]:
    """Run the script; return its exit status and its rows."""
    environment = {
        **os.environ,
        "BARNABEE_MODELS": str(find_models_dir()),
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}",
    }
    command = [sys.executable, "-m", "gpu", "--output", str(output), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    return done.returncode, read_rows(output)


def failures(rows: list[Row]) -> dict[tuple[str, str], str]:
    return {(row.section, row.name): row.code for row in rows if row.code}


def test_engines_without_torch_are_measured_in_a_rehearsal(tmp_path: Path) -> None:
    sections = ("NVML", "Parakeet, onnxruntime")
    chosen = [option for name in sections for option in ("--section", name)]
    status, rows = measure(
        tmp_path, "--device", "cpu", "--quick", "--python", sys.executable, *chosen
    )
    # Kokoro's stand-in needs torch; everything else is there.
    assert set(failures(rows)) == {("weights", "kokoro")}
    assert status == 1
    measured = {(row.section, row.name): row for row in rows}
    assert measured["Parakeet, onnxruntime", "2.3 s of audio"].note.endswith("'turn on light'")
    assert measured["NVML", "memory"].value == 16_376
    table = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert table.startswith("# Rehearsal on a CPU: these are not figures of a GPU.")


def test_a_machine_without_packages_is_described(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys._base_executable} -S -s "$@"\n')  # type: ignore[attr-defined]
    bare.chmod(0o755)
    status, rows = measure(tmp_path / "results", "--python", str(bare))
    assert status == 1
    assert any(row.section == "machine" and row.name == "system" for row in rows)
    codes = failures(rows)
    assert {section for section, _ in codes} == {section.name for section in SECTIONS}
    assert set(codes.values()) == {MISSING}


def test_without_a_gpu_every_section_says_so(tmp_path: Path) -> None:
    status, rows = measure(tmp_path, "--python", sys.executable, "--section", "MiniLM, onnxruntime")
    assert status == 1
    (row,) = (row for row in rows if row.section == "MiniLM, onnxruntime")
    assert row.code == MISSING
    assert "onnxruntime-gpu" in str(row.value)


@pytest.fixture
def runner(tmp_path: Path) -> script.Runner:
    settings = {"device": "cuda", "output": str(tmp_path)}
    return script.Runner(sys.executable, tmp_path, settings, dict(os.environ), deadline_s=1e12)


def replace_python(runner: script.Runner, directory: Path, body: str) -> None:
    program = directory / "child"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    runner.python = str(program)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("kill -SEGV $$", "SIGSEGV"),
        ("exit 3", "failed"),
        ("sleep 600 & sleep 600", "out_of_time"),
    ],
)
def test_a_section_that_crashes_or_hangs_is_a_row(
    runner: script.Runner, tmp_path: Path, body: str, code: str
) -> None:
    replace_python(runner, tmp_path, body)
    runner.run_section("service", 1.5)
    assert failures(read_rows(tmp_path)) == {("service", "section"): code}
    assert f"| {code} |" in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_nothing_starts_after_the_time_of_the_run(runner: script.Runner, tmp_path: Path) -> None:
    runner.deadline_s = 0.0
    runner.run_section("service", 60)
    assert failures(read_rows(tmp_path)) == {("service", "section"): "out_of_time"}


def test_a_failed_part_does_not_end_its_section(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "embeddings")
    with recorder.part("first"):
        raise RuntimeError("CUDA | error")
    recorder.record("second", 12.345, "ms")
    with (tmp_path / RESULTS).open("a", encoding="utf-8") as file:
        file.write('{"section": "cut o')  # by a kill
    rows = read_rows(tmp_path)
    assert [row.name for row in rows] == ["first", "second"]
    assert rows[0].code == "RuntimeError"
    table = render_table(rows, is_rehearsal=False)
    assert "| embeddings | first | failed: CUDA / error | RuntimeError |" in table
    assert "|  | second | 12.3 ms |  |" in table


def test_requirements_of_another_python_are_selected_with_their_hashes() -> None:
    text = (
        "one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "two==2.0 ; python_full_version < '3.12' \\\n    --hash=sha256:cc\n"
        "three-x==3.0 ; sys_platform == 'linux' \\\n    --hash=sha256:dd\n"
    )
    assert select_requirements(text, "3.12", {"three-x"}) == [
        "one==1.0 --hash=sha256:aa --hash=sha256:bb"
    ]
    assert len(select_requirements(text, "3.11", set())) == 3


def test_invalid_options_are_refused_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gpu", "--output", str(tmp_path), "--section", "nonsense"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--section: there is no 'nonsense'" in done.stderr.splitlines()[-1]


def test_every_section_has_its_function() -> None:
    for section in SECTIONS:
        module, _, function = section.function.partition(":")
        text = (ROOT / "tests" / "gpu" / f"{module}.py").read_text(encoding="utf-8")
        assert f"def {function}(bench: Bench)" in text
