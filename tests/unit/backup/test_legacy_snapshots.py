"""Snapshots from before restic, made by that version, are read."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from barnabee.backup import integrity, restore_sources
from barnabee.core.errors import BadInput, NotFound
from support.backup import flip_bits, truncate_file

DATA = Path(__file__).parents[2] / "data/backup"
ENCRYPTED, PLAIN = "20260131T031000Z.db.zst.age", "20260201T031000Z.db.zst"
KIT = (DATA / "recovery-kit.txt").read_text()
OTHER_KEY = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA, tmp_path / "snapshots"))


@pytest.mark.parametrize(("name", "key"), [(ENCRYPTED, KIT), (ENCRYPTED, KIT.lower()), (PLAIN, "")])
def test_an_archive_is_restored(folder: Path, tmp_path: Path, name: str, key: str) -> None:
    source = restore_sources.find_legacy_source(folder / name, key)
    assert name in source.describe()[0]
    asyncio.run(source.fetch(tmp_path / "x.db", lambda _done, _total: None))
    integrity.check_integrity(tmp_path / "x.db")
    assert integrity.count_file_rows(tmp_path / "x.db")["turns"] == 20
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["x.db"]


@pytest.mark.parametrize("name", [ENCRYPTED, PLAIN])
@pytest.mark.parametrize("damage", [flip_bits, truncate_file])
def test_a_damaged_archive_is_refused(
    folder: Path, tmp_path: Path, name: str, damage: object
) -> None:
    damage(folder / name)  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"damaged|not the one|cannot be opened"):
        restore_sources.read_archive(folder / name, KIT, tmp_path / "x.db")


def test_a_wrong_or_missing_key_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be opened with this key"):
        restore_sources.read_archive(folder / ENCRYPTED, OTHER_KEY, tmp_path / "x.db")
    with pytest.raises(BadInput, match="--key"):
        restore_sources.find_legacy_source(folder / ENCRYPTED, None)
    with pytest.raises(BadInput, match="a letter is wrong"):
        restore_sources.find_legacy_source(folder / ENCRYPTED, OTHER_KEY[:-1] + "Q")
    with pytest.raises(NotFound, match="nowhere"):
        restore_sources.find_legacy_source(folder / "nowhere.db.zst", None)
