"""Runs the sections one after the other, each in a process of its own with a time budget.

Standard library only. The results are written after every measurement, so that a machine that goes
away in between has told something. The exit status is 1 when anything failed or could not run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpu import prepare
from gpu.doctor import REQUIREMENTS
from gpu.environment import choose_python, make_environment
from gpu.report import MACHINE, MISSING, TABLE, Recorder, drop_section, read_rows, render_table
from gpu.sections import DOCTOR_BUDGET_S, SECTIONS, WEIGHTS, Section

ROOT = Path(__file__).resolve().parents[2]
LOG = "log.txt"
END = "section time"  # the last row of a section that has ended
CPU_FACTOR = 20  # budgets are for a GPU


@dataclass
class Runner:
    """Settings of a run; starts sections and records what they cannot."""

    python: str
    output: Path
    settings: dict[str, Any]
    environment: dict[str, str]
    deadline_s: float  # of time.monotonic

    @property
    def is_rehearsal(self) -> bool:
        return bool(self.settings["device"] != "cuda")

    def run_section(self, name: str, budget_s: float) -> None:
        recorder = Recorder(self.output, name)
        left_s = self.deadline_s - time.monotonic()
        limit_s = min(left_s, budget_s * (CPU_FACTOR if self.is_rehearsal else 1))
        if limit_s <= 1:
            recorder.fail("section", "out_of_time", "the time of the whole run was used up")
            return
        drop_section(self.output, name)
        print(f"== {name}", flush=True)
        begun_s = time.monotonic()
        status = self._start_and_wait(name, limit_s)
        failed = any(row.code for row in read_rows(self.output) if row.section == name)
        if status is None:
            recorder.fail("section", "out_of_time", f"stopped after {limit_s:.0f} s")
        elif status < 0:
            recorder.fail("section", signal.Signals(-status).name, f"it crashed: see {LOG}")
        elif status and not failed:
            recorder.fail("section", "failed", f"exit status {status}: see {LOG}")
        recorder.record(END, time.monotonic() - begun_s, "s")
        self.write_table()

    def _start_and_wait(self, name: str, limit_s: float) -> int | None:
        """Return the exit status, or None when the section was stopped."""
        command = [self.python, "-m", "gpu.child", name, json.dumps(self.settings)]
        with (self.output / LOG).open("ab") as log:
            log.write(f"== {name}\n".encode())
            log.flush()
            process = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                return process.wait(timeout=limit_s)
            except subprocess.TimeoutExpired:
                return None
            finally:
                _kill_group(process)

    def find_unmet(self, section: Section) -> str:
        """Return why a section cannot run, empty if it can."""
        path = self.output / REQUIREMENTS
        if not path.is_file():
            return "the machine could not be examined"
        unmet = json.loads(path.read_text(encoding="utf-8"))
        return "; ".join(unmet[need] for need in section.needs if unmet[need])

    def write_table(self) -> None:
        order = [MACHINE, *(section.name for section in SECTIONS)]
        rows = [row for row in read_rows(self.output) if row.section in order]
        rows.sort(key=lambda row: order.index(row.section))
        table = render_table(rows, is_rehearsal=self.is_rehearsal)
        (self.output / TABLE).write_text(table, encoding="utf-8")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a section and what it started; nothing remains of one that has ended by itself."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def main() -> int:
    options = _parse_options()
    if options.list:
        print("\n".join(section.name for section in SECTIONS))
        return 0
    if options.prepare:
        return prepare.run(options)
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="barnabee-gpu-") as work:
        runner = _make_runner(options, Path(work))
        done = _find_done(options)
        if MACHINE not in done or not (options.output / REQUIREMENTS).is_file():
            runner.run_section(MACHINE, DOCTOR_BUDGET_S)
        for section in SECTIONS:
            wanted = not options.section or section.name in {*options.section, WEIGHTS}
            if not wanted or (section.name in done and section.name != WEIGHTS):
                continue
            reason = runner.find_unmet(section)
            if reason:
                drop_section(options.output, section.name)
                Recorder(options.output, section.name).fail("section", MISSING, reason)
            else:
                runner.run_section(section.name, section.budget_s)
        runner.write_table()
    print((options.output / TABLE).read_text(encoding="utf-8"))
    print(f"results: {options.output}")
    return 1 if any(row.code for row in read_rows(options.output)) else 0


def _make_runner(options: argparse.Namespace, work: Path) -> Runner:
    python = options.python or choose_python(options.device)
    environment = make_environment(python, work, use_cublas_13=options.cublas_13)
    if options.quick:
        environment["OMP_NUM_THREADS"] = "1"  # torch's threads spin, which a busy CPU punishes
    settings = {
        "device": options.device,
        "output": str(options.output.resolve()),
        "models": str(options.work.resolve() if options.work else work / "models"),
        "repeats": 1 if options.quick else options.repeats,
        "rooms": [1, 2] if options.quick else options.rooms,
        "seconds": 0.5 if options.quick else options.seconds,
        "quick": options.quick,
        "builder": sys.executable if find_spec("onnx") else "",
    }
    budget_s = options.budget_s * (1 if options.device == "cuda" else CPU_FACTOR)
    deadline_s = time.monotonic() + budget_s
    return Runner(python, options.output, settings, environment, deadline_s)


def _find_done(options: argparse.Namespace) -> set[str]:
    """Return the sections that --resume leaves out: those that have ended without failure."""
    rows = read_rows(options.output)
    if not options.resume:
        if not options.section:
            for name in {row.section for row in rows}:
                drop_section(options.output, name)
        return set()
    failed = {row.section for row in rows if row.code}
    return {row.section for row in rows if row.name == END} - failed


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="barnabee test --gpu", description=__doc__)
    add = parser.add_argument
    add("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal")
    default = ROOT / ".barnabee" / "gpu-measurements"
    add("--output", type=Path, default=default, metavar="DIR", help="folder of the results")
    add("--section", action="append", default=[], metavar="NAME", help="only this section")
    add("--resume", action="store_true", help="leave out the sections that have ended well")
    add("--budget-s", type=float, default=480, metavar="S", help="of the whole run on a GPU")
    add("--repeats", type=_parse_positive, default=20, metavar="N", help="runs of each latency")
    add("--rooms", type=_parse_rooms, default=[1, 2, 4, 8, 16, 32], metavar="N,N")
    add("--seconds", type=float, default=5, metavar="S", help="of each number of rooms")
    add("--quick", action="store_true", help="one run of each, to see whether everything works")
    add("--python", default="", metavar="PATH", help="Python with torch and the other packages")
    help_text = "give CTranslate2 cuBLAS 13 under the name of 12, an experiment"
    add("--cublas-13", action="store_true", help=help_text)
    add("--work", type=Path, metavar="DIR", help="folder for stand-in weights, kept for later runs")
    add("--list", action="store_true", help="print the sections")
    prepare.add_options(parser)
    options = parser.parse_args()
    unknown = sorted(set(options.section) - {section.name for section in SECTIONS})
    if unknown:
        parser.error(f"--section: there is no {unknown[0]!r}; --list prints the names")
    if options.python and not Path(options.python).is_file():
        parser.error(f"--python: {options.python} is not a file")
    return options


def _parse_positive(text: str) -> int:
    number = int(text)
    if number < 1:
        msg = "it must be at least 1"
        raise argparse.ArgumentTypeError(msg)
    return number


def _parse_rooms(text: str) -> list[int]:
    return [_parse_positive(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
