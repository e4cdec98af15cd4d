"""Demo home: configuration, command line and secret files, without running it."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from barnabee.up.demo_home import config
from barnabee.up.demo_home.config import DemoHome, DemoHomeFailed

HOME = DemoHome(directory=Path("/var/lib/demo"), port=8123)


def test_configuration_listens_on_loopback_and_the_given_port() -> None:
    http = config.render_configuration(18123).split("\nhttp:\n", 1)[1].split("\n\n", 1)[0]

    assert http == "  server_host: 127.0.0.1\n  server_port: 18123"


def test_every_placeholder_of_the_configuration_is_filled() -> None:
    assert "$" not in config.render_configuration(8123)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_an_invalid_port_is_rejected(port: int) -> None:
    with pytest.raises(ValueError, match=f"not {port}"):
        config.render_configuration(port)


def test_every_device_has_an_existing_room_and_every_room_a_floor() -> None:
    described = tomllib.loads(config.read_home_file())

    assert {room["floor"] for room in described["room"].values()} == set(described["floor"])
    rooms = {device["room"] for device in described["device"].values() if "room" in device}
    assert rooms == set(described["room"])


def test_no_two_things_share_a_spoken_name() -> None:
    described = tomllib.loads(config.read_home_file())
    for kind in ("device", "room"):
        names = [
            name.casefold()
            for one in described[kind].values()
            for name in (one["name"], *one.get("aliases", []))
        ]
        assert len(names) == len(set(names))


def test_home_assistant_uses_its_python_and_installs_nothing() -> None:
    assert config.make_command(Path("/venv/bin/python"), HOME) == (
        "/venv/bin/python",
        "-m",
        "homeassistant",
        "--config",
        "/var/lib/demo",
        "--skip-pip",
    )


def test_both_urls_are_on_loopback() -> None:
    assert HOME.url == "http://127.0.0.1:8123/"
    assert HOME.websocket_url == "ws://127.0.0.1:8123/api/websocket"


def test_a_secret_reads_back_and_has_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"

    config.write_secret(path, "s3cret")

    assert config.read_secret(path) == "s3cret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_replacing_a_readable_file_makes_it_private(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)

    config.write_secret(path, "new")

    assert config.read_secret(path) == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_missing_or_empty_secret_is_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)

    assert config.read_secret(path) is None


def test_the_error_names_problem_and_remedy() -> None:
    error = DemoHomeFailed(problem="has no owner", remedy="start it again")

    assert str(error) == "The demo home has no owner: start it again."
    assert error.code == "demo_home_failed"


async def test_a_venv_without_home_assistant_is_rejected_first(
    tmp_path: Path,
) -> None:
    home = DemoHome(directory=tmp_path / "home", port=8123)

    with pytest.raises(DemoHomeFailed, match=r"install requirements/home-assistant\.txt"):
        await config.run_home(home, tmp_path / "empty", _fail_set_up)

    assert not home.directory.exists()


async def test_files_of_a_newer_release_are_left_alone(tmp_path: Path) -> None:
    home = DemoHome(directory=tmp_path / "home", port=8123)
    home.directory.mkdir()
    (home.directory / ".HA_VERSION").write_text("2026.2.3")
    (tmp_path / "venv/lib/python3.11/site-packages/homeassistant-2024.3.3.dist-info").mkdir(
        parents=True
    )

    with pytest.raises(DemoHomeFailed, match=r"2026\.2\.3, whose files 2024\.3\.3 cannot read"):
        await config.run_home(home, tmp_path / "venv", _fail_set_up)

    assert not home.configuration_file.exists()


async def _fail_set_up() -> None:
    pytest.fail("set-up must not run when the start fails")
