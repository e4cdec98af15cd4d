from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from barnabee.core import manifest
from barnabee.core.errors import ModelDamaged, ModelMissing
from barnabee.core.manifest import Entry

CONTENT = b"weights" * 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "kokoro-int8"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(CONTENT)
    entry = Entry(sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))
    (folder / manifest.NAME).write_text(manifest.text({"model.onnx": entry}))
    return folder


def test_a_whole_folder_is_accepted(folder: Path) -> None:
    assert manifest.verify(folder) == folder


def test_no_folder_is_a_missing_model_that_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"model whisper-base is not in .*barnabee models fetch"):
        manifest.verify(tmp_path / "whisper-base")


def test_a_truncated_file_is_named_with_its_remedy(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(CONTENT[:-1])
    with pytest.raises(
        ModelDamaged, match=r"kokoro-int8/model.onnx .*699 bytes instead of 700"
    ) as e:
        manifest.verify(folder)
    assert "barnabee models fetch" in str(e.value)


def test_a_flipped_bit_is_found(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"W" + CONTENT[1:])
    with pytest.raises(ModelDamaged, match="SHA-256"):
        manifest.verify(folder)


def test_a_file_that_is_gone_is_named(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelDamaged, match="not there"):
        manifest.verify(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": {"a": {}}}', '{"files": 7}'])
def test_a_manifest_that_cannot_be_read_is_damage(folder: Path, text: str) -> None:
    (folder / manifest.NAME).write_text(text)
    with pytest.raises(ModelDamaged, match=r"manifest\.json"):
        manifest.verify(folder)


def test_a_manifest_can_be_written_for_what_is_there(folder: Path) -> None:
    (folder / "voices").mkdir()
    (folder / "voices" / "af.pt").write_bytes(b"voice")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").write_bytes(b"of no use")
    assert set(manifest.write(folder)) == {"model.onnx", "voices/af.pt"}
    assert manifest.verify(folder) == folder
    (folder / "voices" / "af.pt").write_bytes(b"vOice")
    with pytest.raises(ModelDamaged, match=r"voices/af\.pt"):
        manifest.verify(folder)


def test_there_is_no_manifest_of_nothing(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ModelMissing):
            manifest.write(folder)
