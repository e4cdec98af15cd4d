"""apt: size of a download, interrupted installations, and services that must not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core.errors import SetupFailed
from barnabee.up import packages

URIS = """\
'http://mirror.example/debian/pool/main/j/jemalloc/libjemalloc2_5.3.0-1_amd64.deb' a.deb 275352 MD5
'http://mirror.example/debian/pool/main/r/redis/redis-tools_7.0.15_amd64.deb' b.deb 987844 SHA256
E: some noise
"""
APT = """#!/bin/sh
echo "apt-get $*" >> "$MARK"
[ -e "$POLICY" ] && echo denied >> "$MARK"
case "$*" in *--print-uris*) cat "$URIS"; exit;; esac
exit "${APT_STATUS:-0}"
"""


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the policy file of a machine whose apt-get and dpkg only record their calls."""
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "_POLICY_FILE", path)
    for name, text in (("apt-get", APT), ("dpkg", '#!/bin/sh\necho "dpkg $*" >> "$MARK"\n')):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "uris").write_text(URIS, encoding="utf-8")
    for name, value in (
        ("PATH", f"{tmp_path}:/bin"),
        ("POLICY", path),
        ("MARK", tmp_path / "mark"),
    ):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("URIS", str(tmp_path / "uris"))
    monkeypatch.setattr(packages.shutil, "which", lambda _: None)  # no systemctl
    return path


def test_installation_size_is_the_sum_of_its_packages() -> None:
    assert packages.parse_download_bytes(URIS) == 275352 + 987844


def test_nothing_to_download_is_zero_bytes() -> None:
    assert packages.parse_download_bytes("") == 0


async def test_an_interrupted_installation_is_completed_and_no_service_starts(
    policy: Path, tmp_path: Path
) -> None:
    printed: list[str] = []
    await packages.install_package("redis-server", printed.append)
    calls = (tmp_path / "mark").read_text(encoding="utf-8").splitlines()
    assert calls[0] == "dpkg --configure -a"
    assert calls[-2:] == ["apt-get -qq -y install --no-install-recommends redis-server", "denied"]
    assert printed == ["apt: installing redis-server (1.3 MB)"]
    assert not policy.exists()


async def test_the_policy_of_a_killed_run_is_removed(policy: Path) -> None:
    policy.write_text(packages._DENY_START, encoding="utf-8")
    await packages.install_package("redis-server", print)
    assert not policy.exists()


async def test_a_policy_of_the_user_stays(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    await packages.install_package("redis-server", print)
    assert policy.read_text(encoding="utf-8") == "#!/bin/sh\nexit 0\n"


async def test_a_failure_names_the_package(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APT_STATUS", "100")
    with pytest.raises(SetupFailed, match=r"redis-server .*install the Debian package"):
        await packages.install_package("redis-server", print)
    assert not policy.exists()


def test_uv_and_npm_get_the_settings_and_the_certificate_of_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages.sys, "prefix", str(tmp_path))
    for name in ("UV_CONFIG_FILE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.delenv(name, raising=False)
    assert "UV_CONFIG_FILE" not in packages.make_index_environment()
    (tmp_path / "uv.toml").touch()
    (tmp_path / "ca.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", "/of/the/user.pem")
    found = packages.make_index_environment()
    assert found["UV_CONFIG_FILE"] == str(tmp_path / "uv.toml")
    assert found["NODE_EXTRA_CA_CERTS"] == str(tmp_path / "ca.pem")
    assert found["SSL_CERT_FILE"] == "/of/the/user.pem"
    assert "PYTHONPATH" not in found
