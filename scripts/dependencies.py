"""Dependencies of the lock files: bill of materials with licences, and known vulnerabilities.

python scripts/dependencies.py sbom DIRECTORY    # *.cdx.json (CycloneDX) and licences.tsv
python scripts/dependencies.py audit             # prints what is known; always exits with 0

Run it in the environment of `./barnabee`, from which the licences of the Python packages are read.
The tools are pinned here and run by uv in environments of their own.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).parent / "uv"
CYCLONEDX = (UV, "tool", "run", "--from", "cyclonedx-bom==7.5.0", "cyclonedx-py", "requirements")
PIP_AUDIT = (UV, "tool", "run", "--from", "pip-audit==2.10.1", "pip-audit")
PIP_AUDIT_OPTIONS = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")
OSV = ("--vulnerability-service", "osv", "--timeout", "5")
NPM = ("npm", "--prefix", ROOT / "src" / "dashboard")
NPM_QUICKLY = ("--fetch-timeout=10000", "--fetch-retries=0")
LOCKED = ("default", "gpu")  # of requirements/
AUDIT_LIMIT_S = 120
Json = dict[str, Any]


class ToolFailed(Exception):
    """A tool is missing, or printed no document; the message is its last line."""


def run_tool(*command: str | Path) -> Json:
    """Return the JSON document that a tool prints, whatever its exit status."""
    try:
        done = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            check=False,
            timeout=AUDIT_LIMIT_S,
        )
        found: Json = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolFailed(str(error)) from error
    except ValueError as error:
        lines = done.stderr.strip().splitlines() or ["it printed nothing"]
        raise ToolFailed(lines[-1]) from error
    return found


def write_sbom(directory: Path) -> None:
    """Write a CycloneDX document for each lock file, and all licences in one table."""
    directory.mkdir(parents=True, exist_ok=True)
    documents = {name: make_python_sbom(name) for name in LOCKED}
    npm = (*NPM, "sbom", "--sbom-format", "cyclonedx", "--package-lock-only")
    documents["dashboard"] = run_tool(*npm)
    rows = set()
    for name, document in documents.items():
        text = json.dumps(document, indent=1) + "\n"
        (directory / f"{name}.cdx.json").write_text(text, encoding="utf-8")
        rows |= {(one["purl"], render_licence(one)) for one in document["components"]}
    table = "".join(f"{purl}\t{licence}\n" for purl, licence in sorted(rows))
    (directory / "licences.tsv").write_text(table, encoding="utf-8")
    unknown = sum(licence == "" for _, licence in rows)
    print(f"{len(rows)} components in {directory}; {unknown} name no licence or are not installed")


def make_python_sbom(name: str) -> Json:
    """Return the document of one requirements file, with the licences of installed packages."""
    document = run_tool(*CYCLONEDX, ROOT / "requirements" / f"{name}.txt")
    for component in document["components"]:
        licence = read_licence(component["name"])
        if licence:
            component["licenses"] = [{"license": {"name": licence}}]
    return document


def read_licence(package: str) -> str:
    """Return the licence in the metadata of an installed package; empty if there is none."""
    try:
        about = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return ""
    classifiers = [
        one.rpartition(" :: ")[2]
        for one in about.get_all("Classifier", [])
        if one.startswith("License :: ") and one != "License :: OSI Approved"
    ]
    stated = [*about.get_all("License-Expression", []), " and ".join(classifiers)]
    stated += about.get_all("License", [])
    return next((one.strip().partition("\n")[0] for one in stated if one), "")


def render_licence(component: Json) -> str:
    """Return the licences of a component in one line. Pure."""
    found = [
        one.get("expression") or one["license"].get("id") or one["license"].get("name", "")
        for one in component.get("licenses", [])
    ]
    return " and ".join(found)


def audit_python() -> list[str]:
    """Return one line for each known vulnerability of the Python packages."""
    file = ROOT / "requirements" / "default.txt"
    document = run_tool(*PIP_AUDIT, "--requirement", file, *PIP_AUDIT_OPTIONS, *OSV)
    return [
        f"{package['name']} {package['version']}: {one['id']}, fixed in {one['fix_versions']}"
        for package in document["dependencies"]
        for one in package.get("vulns", [])
    ]


def audit_npm() -> list[str]:
    """Return one line for each package of the dashboard with a known vulnerability."""
    document = run_tool(*NPM, "audit", "--json", "--package-lock-only", *NPM_QUICKLY)
    if "vulnerabilities" not in document:
        raise ToolFailed(document.get("message", "it printed no result"))
    return [
        f"{name}: {one['severity']}, {one['range']}"
        for name, one in document["vulnerabilities"].items()
    ]


def print_audit() -> None:
    """Print what is known. No failure: an unchanged commit would fail from one day to the next."""
    for name, audit in (("pip-audit", audit_python), ("npm audit", audit_npm)):
        try:
            found = audit()
        except ToolFailed as error:
            print(f"{name}: skipped: {re.sub(r'[^ -~]', '?', str(error))}")
            continue
        print(f"{name}: {len(found)} known vulnerabilities")
        print("".join(f"  warning: {line}\n" for line in found), end="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sbom").add_argument("directory", type=Path)
    commands.add_parser("audit")
    given = parser.parse_args()
    try:
        write_sbom(given.directory) if given.command == "sbom" else print_audit()
    except ToolFailed as error:
        parser.exit(1, f"No bill of materials: {error}\n")


if __name__ == "__main__":
    main()
