"""The two commands of the README on a pristine Debian 13, with nothing but its minimal packages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from support import debian_root
from support.debian_root import DebianRoot

SUITE = "trixie"
CACHE = "/root/.cache/barnabee"  # inside the system
# The whole quick suite takes as long here as outside; these show that the set-up is complete.
QUICK_TESTS = ("tests/contract", "tests/unit/cli", "tests/unit/up", "tests/integration/test_gpu.py")

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        debian_root.unavailability_reason() is not None,
        reason=f"no Debian system: {debian_root.unavailability_reason()}",
    ),
]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRoot]:
    """Yield a pristine system with this checkout and the models of this machine."""
    directory = tmp_path_factory.mktemp("debian") / SUITE
    debian_root.copy_pristine(SUITE, directory)
    system = DebianRoot(directory)
    try:
        system.start()
        system.copy_checkout()
        models = os.environ.get("BARNABEE_MODELS")
        if models:  # their hashes are verified all the same; this only spares the download
            shutil.copytree(models, directory / CACHE.lstrip("/") / "models")
        yield system
    finally:
        system.stop()


def test_a_user_without_python_is_told_what_to_install(system: DebianRoot) -> None:
    assert system.run("useradd", "--create-home", "family").returncode == 0
    assert system.run("chown", "family", ".").returncode == 0
    result = system.run("./barnabee", "up", user="family")
    assert result.returncode == 1
    assert result.stdout == (
        "barnabee: python3 python3-venv is missing: install it (on Debian or Ubuntu: "
        "sudo apt-get install python3 python3-venv), then try again.\n"
    )


def test_up_and_test_run_on_a_pristine_system(system: DebianRoot) -> None:
    up = system.run("./barnabee", "up", "-d", "--demo-home")
    assert up.returncode == 0, up.stdout
    health = system.run("./barnabee", "health", "--wait", "300")
    assert health.returncode == 0, health.stdout
    reply = system.run("./barnabee", "say", "turn on the kitchen light")
    assert reply.returncode == 0, reply.stdout
    assert "id light.kitchen_light" in reply.stdout
    stopped = system.run("./barnabee", "down")
    assert stopped.returncode == 0, stopped.stdout
    tests = system.run("./barnabee", "test", *QUICK_TESTS)
    print(tests.stdout)
    assert tests.returncode == 0, tests.stdout[-8000:]
    assert "all checks passed" in tests.stdout
