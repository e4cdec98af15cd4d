"""Python 3.13 from Debian's packages: real dpkg-deb, and an apt-get that the test writes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from barnabee.core.errors import SetupFailed
from barnabee.up import debian_python, packages
from support.wait import eventually

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")

# apt-get of the test: knows the commands that are used, and where the archives belong.
APT = """\
#!/bin/sh
for word in "$@"; do
    case $word in
    Dir::Cache::archives=*) archives=${{word#*=}} ;;
    Dir::State::lists=*) lists=${{word#*=}} ;;
    esac
done
case "$*" in
indextargets*)
    echo "Debian Debian-Security http://other/"
    echo "Debian Debian http://own/debian/"
    ;;
*update*) echo list >"$lists/Packages"; {update} ;;
*--print-uris*) echo "'http://x/python.deb' python.deb 1234 SHA256:0" ;;
*--download-only*) {download} ;;
esac
"""
# Stand-ins: the loader skips its options, the interpreter is the one that runs the tests.
LOADER = '#!/bin/sh\nshift 4\nexec "$@"\n'
INTERPRETER = f'#!/bin/sh\nexec {sys.executable} "$@"\n'


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory for programs, in a machine with Debian's keyring and without Python."""
    programs = tmp_path / "bin"
    programs.mkdir()
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(debian_python, "_KEYRING", keyring)
    monkeypatch.setattr(debian_python, "find_installed_python", lambda: None)
    return programs


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def write_apt(programs: Path, *, update: str = ":", download: str = ":") -> None:
    write_program(programs / "apt-get", APT.format(update=update, download=download))


def build_archive(directory: Path) -> Path:
    root = directory / "package"
    write_program(root / "usr/bin/python3.13", INTERPRETER)
    write_program(root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", LOADER)
    write_program(root / "usr/share/doc/python/changelog", "not needed")
    control = root / "DEBIAN/control"
    control.parent.mkdir()
    fields = {
        "Package": "python3.13",
        "Version": "1",
        "Architecture": "all",
        "Maintainer": "nobody <nobody@example.org>",
        "Description": "stand-in",
    }
    control.write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
    archive = directory / "python.deb"
    subprocess.run(["dpkg-deb", "--build", root, archive], check=True, capture_output=True)
    return archive


def list_cache() -> list[str]:
    directory = debian_python.python_directory().parent
    return sorted(path.name for path in directory.iterdir() if not path.name.endswith(".lock"))


async def ensure() -> Path:
    return await debian_python.ensure_python(lambda done, total: None)


async def test_the_packages_become_an_interpreter(machine: Path, tmp_path: Path) -> None:
    write_apt(machine, download=f'cp {build_archive(tmp_path)} "$archives/python.deb"')
    sizes: list[tuple[int, int]] = []

    python = await debian_python.ensure_python(lambda *size: sizes.append(size))

    done = subprocess.run(
        [python, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "42\n"
    assert sizes[-1] == (1234, 1234)
    assert list_cache() == ["python-3.13-trixie"]  # neither lists nor archives
    assert not (debian_python.python_directory() / "usr/share").exists()
    write_apt(machine, update="exit 1")
    assert await ensure() == python == debian_python.find_python()


async def test_an_installed_python_is_preferred(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_apt(machine, update="exit 1")
    monkeypatch.setattr(debian_python, "find_installed_python", lambda: Path("/usr/bin/python3.13"))

    assert await ensure() == Path("/usr/bin/python3.13")


@pytest.mark.parametrize(
    ("answer", "is_usable"),
    [("3 13 5", True), ("3 13 1", False), ("", False), ("not a version", False)],
)
def test_an_installed_python_must_be_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, is_usable: bool
) -> None:
    found = tmp_path / "python3.13"
    write_program(found, f"#!/bin/sh\necho {answer}\n")
    monkeypatch.setattr(debian_python.shutil, "which", lambda name: str(found))
    monkeypatch.setattr(debian_python, "VERSION", "of-no-machine")

    assert debian_python.find_installed_python() == (found if is_usable else None)


async def test_a_mirror_without_the_suite_is_followed_by_the_public_one(
    machine: Path, tmp_path: Path
) -> None:
    archive = build_archive(tmp_path)
    asked = tmp_path / "asked"
    source = '"$lists/../debian.sources"'
    update = f"cat {source} >>{asked}; grep -q deb.debian.org {source}"
    write_apt(machine, update=update, download=f'cp {archive} "$archives/python.deb"')

    await ensure()

    mirrors = [line for line in asked.read_text().splitlines() if line.startswith("URIs:")]
    assert mirrors == ["URIs: http://own/debian", "URIs: http://deb.debian.org/debian"]


async def test_a_machine_without_apt_is_named(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(machine))

    with pytest.raises(SetupFailed, match="apt-get is missing"):
        await ensure()


async def test_a_missing_keyring_names_its_package(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_apt(machine)
    monkeypatch.setattr(debian_python, "_KEYRING", Path("/nowhere/keyring.gpg"))

    with pytest.raises(SetupFailed, match="package debian-archive-keyring"):
        await ensure()


@pytest.mark.parametrize(
    ("update", "download", "reason"),
    [
        ("echo 'W: x'; echo 'E: It is not signed.'; echo 'E: x'; exit 100", ":", "is not signed"),
        (":", 'echo "E: You don\'t have enough free space"; exit 100', "enough free space"),
        (":", 'echo damaged >"$archives/python.deb"', "dpkg-deb"),
        (":", ":", "no program loader"),
    ],
)
async def test_a_failure_has_its_reason_and_leaves_nothing(
    machine: Path, update: str, download: str, reason: str
) -> None:
    write_apt(machine, update=update, download=download)

    with pytest.raises(SetupFailed) as failed:
        await ensure()

    assert reason in failed.value.fields["reason"]
    assert list_cache() == []


async def test_packages_that_do_not_run_are_not_complete(machine: Path, tmp_path: Path) -> None:
    archive = build_archive(tmp_path)
    write_apt(machine, download=f'cp {archive} "$archives/python.deb"')
    write_program(tmp_path / "package/usr/bin/python3.13", "#!/bin/sh\necho broken\nexit 1\n")
    subprocess.run(
        ["dpkg-deb", "--build", tmp_path / "package", archive], check=True, capture_output=True
    )

    with pytest.raises(SetupFailed, match="broken"):
        await ensure()

    assert debian_python.find_python() is None


async def test_an_interrupted_download_starts_again(machine: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    write_apt(machine, download=f"touch {begun}; exec sleep 1000")
    task = asyncio.create_task(ensure())

    async def downloading() -> bool:
        return begun.exists()

    await eventually(downloading)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list_cache() == []

    write_apt(machine, download=f'cp {build_archive(tmp_path)} "$archives/python.deb"')
    assert await ensure() == debian_python.find_python()


async def test_what_a_killed_run_left_is_replaced(machine: Path, tmp_path: Path) -> None:
    directory = debian_python.python_directory()
    for left in (directory, directory.with_name(f".{directory.name}.partial")):
        write_program(left / "usr/bin/python3", "#!/bin/sh\nexit 1\n")
    write_apt(machine, download=f'cp {build_archive(tmp_path)} "$archives/python.deb"')
    assert debian_python.find_python() is None

    python = await ensure()

    assert subprocess.run([python, "-c", ""], check=False).returncode == 0
    assert packages.is_complete(directory)
    assert list_cache() == [directory.name]
