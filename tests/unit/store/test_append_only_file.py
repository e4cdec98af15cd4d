from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from barnabee.store import append_only_file
from barnabee.store.append_only_file import FOLDER, measure_valid_bytes, repair_directory
from support.redis import RedisServer, find_servers

SET = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"
TRANSACTION = b"*1\r\n$5\r\nMULTI\r\n" + SET + b"*1\r\n$4\r\nEXEC\r\n"


@pytest.fixture(params=find_servers())
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis", program=request.param)
    yield server
    server.kill()


@pytest.fixture
def folder(server: RedisServer) -> Path:
    """Files with a snapshot (keys 0 to 99), and commands (keys 100 to 199); the server is dead."""
    server.start()
    for number in range(100):
        server.send("SET", f"key:{number}", "x" * 100)
    server.send("BGREWRITEAOF")
    while b"aof_rewrite_in_progress:0" not in server.send("INFO", "persistence"):
        pass
    for number in range(100, 200):
        server.send("SET", f"key:{number}", "x" * 100)
    server.kill()
    return server.directory / FOLDER


def find_file(folder: Path, end: str) -> Path:
    return next(file for file in sorted(folder.iterdir(), reverse=True) if file.name.endswith(end))


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def cut(path: Path, count: int) -> None:
    os.truncate(path, max(path.stat().st_size - count, 0))


def replace_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"?")


DAMAGE: dict[str, tuple[Callable[[Path], object], range, int]] = {
    # damage, how many keys remain, how many lost bytes the report names at least
    "a zero-filled tail": (
        lambda folder: append(find_file(folder, ".incr.aof"), bytes(700)),
        range(200, 201),
        700,
    ),
    "a cut command": (lambda folder: cut(find_file(folder, ".incr.aof"), 5), range(199, 200), 1),
    "no commands left": (
        lambda folder: cut(find_file(folder, ".incr.aof"), 1 << 20),
        range(100, 101),
        0,
    ),
    "a zeroed page": (
        lambda folder: overwrite(find_file(folder, ".incr.aof"), 4096, bytes(4096)),
        range(101, 199),
        4096,
    ),
    "a cut snapshot": (lambda folder: cut(find_file(folder, ".base.rdb"), 9), range(100, 101), 1),
    "an empty snapshot": (
        lambda folder: cut(find_file(folder, ".base.rdb"), 1 << 20),
        range(100, 101),
        0,
    ),
    "no snapshot": (lambda folder: find_file(folder, ".base.rdb").unlink(), range(100, 101), 0),
    "no commands": (lambda folder: find_file(folder, ".incr.aof").unlink(), range(100, 101), 0),
    "an empty manifest": (
        lambda folder: cut(find_file(folder, ".manifest"), 1 << 20),
        range(200, 201),
        0,
    ),
    "no manifest": (lambda folder: find_file(folder, ".manifest").unlink(), range(200, 201), 0),
    "a zero-filled manifest": (
        lambda folder: overwrite(find_file(folder, ".manifest"), 0, bytes(60)),
        range(200, 201),
        0,
    ),
    "a file in place of the folder": (
        replace_by_a_file,
        range(1),
        0,
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_kept_and_the_server_starts(
    server: RedisServer,
    folder: Path,
    damage: tuple[Callable[[Path], object], range, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inflict, remaining, lost_bytes = damage
    inflict(folder)
    monkeypatch.setattr(append_only_file, "log", structlog.get_logger())
    with capture_logs() as lines:
        kept = repair_directory(server.directory, server.program)
    assert kept is not None
    assert kept.exists()
    (report,) = [line for line in lines if line["event"] == "redis_data_damaged"]
    assert kept.name in str(report)
    server.start()
    assert int(server.send("DBSIZE").strip(b":\r\n")) in remaining
    assert report["lost_bytes"] >= lost_bytes
    server.kill()
    assert repair_directory(server.directory, server.program) is None


def test_undamaged_files_are_left_alone(server: RedisServer, folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert repair_directory(server.directory, server.program) is None
    assert before == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_repair_that_was_interrupted_is_completed(server: RedisServer, folder: Path) -> None:
    folder.rename(folder.with_name(f"{FOLDER}.repaired"))
    assert repair_directory(server.directory, server.program) is None
    server.start()
    assert server.send("DBSIZE") == b":200\r\n"


def test_only_the_newest_damaged_folders_are_kept(server: RedisServer, folder: Path) -> None:
    for _ in range(append_only_file.KEPT_MAX + 2):
        append(find_file(folder, ".incr.aof"), bytes(10))
        repair_directory(server.directory, server.program)
    kept = list(server.directory.glob(f"{FOLDER}.damaged-*"))
    assert len(kept) == append_only_file.KEPT_MAX


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (SET, len(SET)),
        (SET + SET[:-1], len(SET)),
        (SET + bytes(10), len(SET)),
        (SET + SET.replace(b"SET", b"S\0T"), len(SET)),
        (SET + TRANSACTION, len(SET + TRANSACTION)),
        (SET + TRANSACTION[:-5], len(SET)),
        (SET + SET.replace(b"v\r\n", b"v\0\0"), len(SET)),
        (SET + b"*1\r\n*1\r\n$1\r\nx\r\n" + SET, len(SET)),
    ],
)
def test_whole_transactions_are_measured(tmp_path: Path, data: bytes, expected: int) -> None:
    (tmp_path / "file").write_bytes(data)
    assert measure_valid_bytes(tmp_path / "file") == expected


def test_a_long_file_is_measured_to_its_end(tmp_path: Path) -> None:
    commands = SET.replace(b"$1\r\nv", b"$9000\r\n" + b"v" * 9000) * 400
    (tmp_path / "file").write_bytes(commands + b"*")
    assert measure_valid_bytes(tmp_path / "file") == len(commands)


def test_the_servers_program_checks_snapshots_under_another_name() -> None:
    for program in find_servers():
        name = "valkey-check-rdb" if "valkey" in program else "redis-check-rdb"
        done = subprocess.run(
            [name, "/nowhere"], executable=program, capture_output=True, check=False
        )
        assert done.returncode == 1
        assert b"/nowhere" in done.stdout + done.stderr
