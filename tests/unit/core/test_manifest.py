"""Manifests of model folders: verification and writing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from barnabee.core import manifest
from barnabee.core.errors import ModelDamaged, ModelMissing
from barnabee.core.manifest import ManifestEntry

CONTENT = b"weights" * 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "kokoro-int8"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(CONTENT)
    entry = ManifestEntry(sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))
    (folder / manifest.MANIFEST_NAME).write_text(manifest.render_manifest({"model.onnx": entry}))
    return folder


def test_a_complete_folder_is_accepted(folder: Path) -> None:
    assert manifest.verify_directory(folder) == folder


def test_a_missing_folder_is_a_missing_model_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"model whisper-base is not in .*barnabee models fetch"):
        manifest.verify_directory(tmp_path / "whisper-base")


def test_a_truncated_file_is_reported_with_its_remedy(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(CONTENT[:-1])
    with pytest.raises(
        ModelDamaged, match=r"kokoro-int8/model.onnx .*699 bytes instead of 700"
    ) as e:
        manifest.verify_directory(folder)
    assert "barnabee models fetch" in str(e.value)


def test_a_flipped_bit_is_found(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"W" + CONTENT[1:])
    with pytest.raises(ModelDamaged, match="SHA-256"):
        manifest.verify_directory(folder)


def test_a_missing_file_is_reported(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelDamaged, match="it is missing"):
        manifest.verify_directory(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": {"a": {}}}', '{"files": 7}'])
def test_an_invalid_manifest_is_a_damaged_model(folder: Path, text: str) -> None:
    (folder / manifest.MANIFEST_NAME).write_text(text)
    with pytest.raises(ModelDamaged, match=r"manifest\.json"):
        manifest.verify_directory(folder)


def test_a_written_manifest_lists_the_files_of_the_folder(folder: Path) -> None:
    (folder / "voices").mkdir()
    (folder / "voices" / "af.pt").write_bytes(b"voice")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").write_bytes(b"ignored")
    assert set(manifest.write_manifest(folder)) == {"model.onnx", "voices/af.pt"}
    assert manifest.verify_directory(folder) == folder
    (folder / "voices" / "af.pt").write_bytes(b"vOice")
    with pytest.raises(ModelDamaged, match=r"voices/af\.pt"):
        manifest.verify_directory(folder)


def test_an_empty_folder_gets_no_manifest(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ModelMissing):
            manifest.write_manifest(folder)
