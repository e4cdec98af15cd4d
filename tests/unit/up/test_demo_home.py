"""What the demo home writes and runs, without running it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from barnabee.up.demo_home import config, process, rooms, secret_file
from barnabee.up.demo_home.config import Home
from barnabee.up.demo_home.errors import DemoHomeFailed

HOME = Home(directory=Path("/var/lib/demo"), port=8123)


def test_the_configuration_listens_on_loopback_and_on_the_given_port_alone() -> None:
    http = config.render(18123).split("\nhttp:\n", 1)[1].split("\n\n", 1)[0]

    assert http == "  server_host: 127.0.0.1\n  server_port: 18123"


def test_every_placeholder_of_the_configuration_is_filled() -> None:
    assert "$" not in config.render(8123)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_that_cannot_exist_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"not at {port}"):
        config.render(port)


@pytest.mark.parametrize("entity_id", sorted(rooms.ROOM_OF))
def test_every_device_that_has_a_room_is_configured(entity_id: str) -> None:
    assert f"unique_id: demo_home_{entity_id.split('.')[1]}" in config.render(8123)


def test_home_assistant_is_run_by_its_own_python_and_fetches_nothing() -> None:
    assert config.command(Path("/venv/bin/python"), HOME) == (
        "/venv/bin/python",
        "-m",
        "homeassistant",
        "--config",
        "/var/lib/demo",
        "--skip-pip",
    )


def test_both_addresses_are_on_loopback() -> None:
    assert HOME.url == "http://127.0.0.1:8123/"
    assert HOME.websocket_url == "ws://127.0.0.1:8123/api/websocket"


def test_a_written_secret_is_read_back_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"

    secret_file.write(path, "s3cret")

    assert secret_file.read(path) == "s3cret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_secret_that_replaces_a_readable_file_is_private_too(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)

    secret_file.write(path, "new")

    assert secret_file.read(path) == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_missing_or_empty_secret_is_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)

    assert secret_file.read(path) is None


def test_the_error_says_what_happened_and_what_to_do() -> None:
    error = DemoHomeFailed(problem="has no owner", remedy="start it again")

    assert str(error) == "The demo home has no owner: start it again."
    assert error.code == "demo_home_failed"


async def test_a_virtual_environment_without_home_assistant_is_refused_before_a_file_is_written(
    tmp_path: Path,
) -> None:
    home = Home(directory=tmp_path / "home", port=8123)

    with pytest.raises(DemoHomeFailed, match=r"install requirements/home-assistant\.txt"):
        await process.run(home, tmp_path / "empty", _never)

    assert not home.directory.exists()


async def _never() -> None:
    pytest.fail("a home that was not started cannot be set up")
