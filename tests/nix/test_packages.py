"""Packages: what is fetched and built for them, and nothing during the evaluation."""

from __future__ import annotations

import json

import pytest

from support.nix import evaluate, needs_nixpkgs, try_evaluate

pytestmark = [needs_nixpkgs, pytest.mark.timeout(600)]

PKGS = "hosts.hosts.barnabee-core.pkgs"
# Names of the packages for Python 3.11 that the build of `package` needs, directly or not.
PYTHON_INPUTS = """
package:
let
  inherit (hosts.hosts.barnabee-core.pkgs) lib;
  inputs = package: lib.filter lib.isDerivation (
    lib.concatMap (kind: package.${kind} or [ ]) [
      "nativeBuildInputs" "buildInputs" "propagatedBuildInputs" "propagatedNativeBuildInputs"
    ]
  );
  keyed = package: { key = package.drvPath; inherit package; };
  closure = builtins.genericClosure {
    startSet = [ (keyed package) ];
    operator = item: map keyed (inputs item.package);
  };
  names = map (item: item.package.name) closure;
in
map (lib.removePrefix "python3.11-") (lib.filter (lib.hasPrefix "python3.11-") names)
"""


def test_the_assistant_is_built_without_the_tools_of_its_development() -> None:
    found = evaluate(f"({PYTHON_INPUTS}) {PKGS}.barnabee")
    names = [name.rpartition("-")[0] for name in found]
    assert {"fastapi", "hassil", "home-assistant-intents", "pint", "poetry-core"} <= set(names)
    tools = {"mypy", "onnx", "opencv-python-headless", "playwright", "pre-commit", "ruff", "torch"}
    assert not set(names) & tools
    # nixpkgs' own pytest would come with the tests of poetry-core.
    assert names.count("pytest") == 1
    assert "virtualenv" not in names


def test_no_test_tool_is_in_the_environment_of_the_units() -> None:
    found = evaluate(f"map (package: package.pname) {PKGS}.barnabee.dependencies")
    assert "fastapi" in found
    assert not {"pytest", "hypothesis", "tomli-w"} & set(found)


def test_the_dashboard_fetches_modules_for_this_platform_only() -> None:
    text = evaluate(
        f"builtins.unsafeDiscardStringContext {PKGS}.barnabee-dashboard.npmDeps.packageLock"
    )
    modules = {
        path.removeprefix("node_modules/"): module
        for path, module in json.loads(text)["packages"].items()
        if path
    }
    assert {"@esbuild/linux-x64", "@rollup/rollup-linux-x64-gnu", "preact", "vite"} <= set(modules)
    for name, module in modules.items():
        assert module.get("os", ["linux"]) == ["linux"], name
        assert module.get("cpu", ["x64"]) == ["x64"], name
        assert module.get("libc", ["glibc"]) == ["glibc"], name
        assert not module.get("dev"), name
        wanted = module.get("dependencies", {}) | module.get("optionalDependencies", {})
        assert set(wanted) <= set(modules), name  # npm cannot look up others offline
    assert len(modules) < 25


def test_import_from_derivation_fails() -> None:
    done = try_evaluate("hosts.builds")
    assert done.returncode != 0
    assert "one.nix" in done.stderr
