"""Pristine Debian system in a directory: made by debootstrap, run in namespaces of its own.

Processes, mounts and network are private, so that a deployment with fixed ports runs beside others
and everything ends with the system's first process. slirp4netns gives it the outside network; the
settings of this machine for proxies, mirrors and certificates are carried over.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from support.wait import LAST_RESORT_S

ROOT = Path(__file__).resolve().parents[2]
MIRROR = "http://deb.debian.org/debian"
CHECKOUT = "/srv/barnabee"  # inside the system
CERTIFICATES = "/etc/test-certificates"
RUN_LIMIT_S = 3600
PROGRAMS = {
    "debootstrap": "debootstrap",
    "slirp4netns": "slirp4netns",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "git": "git",
}
# Variables that lead to the outside network, and options of pip and apt that do.
_NETWORK_VARIABLE = re.compile(
    r"(https?|no)_proxy|ssl_cert_file|requests_ca_bundle|node_extra_ca_certs"
    r"|pip_(cert|(extra_)?index_url|proxy|default_timeout|trusted_host)|npm_config_(registry|cafile)",
    re.IGNORECASE,
)
_PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "cert", "timeout")
_APT_OPTIONS = ("Acquire::http", "Acquire::https", "Acquire::Check-Date", "Acquire::Check-Valid-U")

_WITH_US = ("setpriv", "--pdeathsig", "KILL")  # ends what follows when this process dies

# First process: mounts what programs expect, then only reaps orphans.
_INIT = r"""
set -e
root=$1
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
ip link set lo up
exec chroot "$root" /bin/sh -c ': >/run/started; while :; do sleep 86400 & wait; done'
"""


def unavailability_reason() -> str | None:
    """Return why no system can be made here; None when one can."""
    if os.geteuid() != 0:
        return "only root can make a Debian system in a directory"
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"there is no {program} here (Debian: {package})"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun here, which the private network needs"
    return None


@dataclass
class DebianRoot:
    """System in `directory`, which `stop` removes."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _init_pid: int = 0

    def start(self) -> None:
        """Start the first process and the network; skips the test where the kernel refuses."""
        (self.directory / "run/started").unlink(missing_ok=True)
        (self.directory / "etc/resolv.conf").write_text("nameserver 10.0.2.3\n", encoding="utf-8")
        self.environment |= read_network_environment(self.directory)
        namespaces = ("--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child")
        command = [*_WITH_US, "unshare", *namespaces, "sh", "-c", _INIT]
        command += ["init", str(self.directory)]
        init = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._processes.append(init)
        deadline = time.monotonic() + LAST_RESORT_S
        while not (self.directory / "run/started").exists():
            if init.poll() is not None or time.monotonic() > deadline:
                assert init.stderr is not None
                init.kill()
                pytest.skip(f"the kernel here refuses: {init.stderr.read().decode().strip()}")
            time.sleep(0.02)
        self._init_pid = psutil.Process(init.pid).children()[0].pid
        self._connect()

    def _connect(self) -> None:
        ready, write_end = os.pipe()
        options = ("--configure", "--disable-host-loopback", f"--ready-fd={write_end}")
        network = subprocess.Popen(
            [*_WITH_US, "slirp4netns", *options, str(self._init_pid), "tap0"],
            pass_fds=[write_end],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._processes.append(network)
        os.close(write_end)
        with os.fdopen(ready, "rb") as pipe:
            if pipe.read(1):
                return
        assert network.stderr is not None
        pytest.skip(f"no private network can be made: {network.stderr.read().decode().strip()}")

    def command(self, *arguments: str, user: str = "root", **environment: str) -> list[str]:
        """Return the command line that runs `arguments` inside, in the checkout's directory."""
        home = "/root" if user == "root" else f"/home/{user}"
        base = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        base |= {"HOME": home, "USER": user, "LANG": "C.UTF-8", **self.environment, **environment}
        settings = [f"{name}={value}" for name, value in base.items()]
        inside = ["nsenter", f"--target={self._init_pid}"]
        inside += ["--mount", "--pid", "--net", "--ipc", "--uts", "--root", "--wd"]
        as_user = [] if user == "root" else ["runuser", "-u", user, "--"]
        enter = ["sh", "-c", 'cd "$0" && exec "$@"', CHECKOUT]
        return [*inside, "env", "-i", *settings, *as_user, *enter, *arguments]

    def run(
        self, *arguments: str, user: str = "root", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside; its output and errors come together in `stdout`."""
        return subprocess.run(
            self.command(*arguments, user=user, **environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_LIMIT_S,
            check=False,
        )

    def copy_checkout(self) -> None:
        """Copy the files of this checkout that git does not ignore."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            source, target = ROOT / name, self.directory / CHECKOUT.lstrip("/") / name
            if source.is_file():  # listed, but perhaps deleted since
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)

    def stop(self) -> None:
        """End every process of the system and remove its directory."""
        with suppress(ProcessLookupError):
            if self._init_pid:
                os.kill(self._init_pid, signal.SIGKILL)  # the kernel ends all others with it
        for process in self._processes:
            process.terminate()
            process.wait()
        self._processes.clear()
        shutil.rmtree(self.directory)  # its mounts ended with the namespace


def read_network_environment(target: Path) -> dict[str, str]:
    """Return this machine's variables for proxies, mirrors and certificates.

    Certificate files that they name and apt's settings are copied into the system at `target`.
    """
    found = dict(_read_pip_options())
    found |= {
        name: value for name, value in os.environ.items() if _NETWORK_VARIABLE.fullmatch(name)
    }
    certificates = target / CERTIFICATES.lstrip("/")
    certificates.mkdir(parents=True, exist_ok=True)
    for name, value in found.items():
        if Path(value).is_absolute() and Path(value).is_file():
            shutil.copy(value, certificates)
            found[name] = f"{CERTIFICATES}/{Path(value).name}"
    settings = target / "etc/apt/apt.conf.d/90test"
    settings.write_text("".join(_read_apt_options()), encoding="utf-8")
    return found


def _read_pip_options() -> Iterator[tuple[str, str]]:
    """Yield pip's configured options as variables; directories of this machine are left out."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        words = [word for word in value.strip("'\"").split() if not word.startswith("file:")]
        if option in _PIP_OPTIONS and words:
            yield f"PIP_{option.replace('-', '_').upper()}", " ".join(words)


def _read_apt_options() -> Iterator[str]:
    if shutil.which("apt-config") is None:
        return
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    for line in dump.stdout.splitlines(keepends=True):
        if line.startswith(_APT_OPTIONS) and '""' not in line:
            yield line


def copy_pristine(suite: str, target: Path) -> None:
    """Put a new minimal system of `suite` at `target`; skips the test when none can be made.

    It is built once a month, in the user's cache.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barnabee"
    built = cache / f"debian-{suite}-{time.strftime('%Y%m')}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".debian.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel releases it when the process dies
        if not built.is_dir():
            for former in cache.glob(f"debian-{suite}-*"):
                shutil.rmtree(former)
            _debootstrap(suite, built)
        subprocess.run(["cp", "--archive", "--reflink=auto", str(built), str(target)], check=True)


def _debootstrap(suite: str, built: Path) -> None:
    unfinished = built.with_name(f"{built.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    proxy = next((line.split('"')[1] for line in _read_apt_options() if "::Proxy " in line), None)
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", suite, str(unfinished), MIRROR],
        env=os.environ | ({"http_proxy": proxy} if proxy else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )
    if done.returncode:
        shutil.rmtree(unfinished, ignore_errors=True)
        pytest.skip(f"debootstrap cannot make {suite}: {done.stdout.strip().splitlines()[-1]}")
    unfinished.rename(built)
