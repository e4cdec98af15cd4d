"""Import layers, from the command line down to `core`; services never import one another."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import grimp
import pytest

from barnabee.core import system

ROOT = Path(__file__).parents[2]
SERVICES = {
    node.module.removeprefix("barnabee.")
    for node in system.load_system(ROOT / "system.toml").service.values()
    if node.module
}
# From the top: each layer may import those below it; packages of one layer do not know each other.
LAYERS = (
    {"cli"},
    {"accept"},
    SERVICES | {"up", "standby", "deploy"},
    {"backup"},
    {"clients", "store"},
    {"skills"},
    {"understanding"},
    {"audio"},
    {"core"},
)
# Libraries that one package alone may import: they are large, slow to load, or want a GPU.
OWNERS = {
    "barnabee.gpu.engines": (
        *("torch", "onnxruntime", "faster_whisper", "ctranslate2", "kokoro_onnx", "kokoro"),
        *("onnx_asr", "sentence_transformers"),
    ),
    "barnabee.gpu.vram": ("pynvml",),
    "barnabee.voice": ("pipecat", "aiortc"),
}


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("barnabee", include_external_packages=True, cache_dir=None)


def test_every_package_has_its_layer() -> None:
    packages = {path.parent.name for path in (ROOT / "src/barnabee").glob("*/__init__.py")}
    assert packages == set().union(*LAYERS)


def test_imports_point_one_way() -> None:
    layers = [grimp.Layer(*layer, independent=True) for layer in LAYERS]
    illegal = import_graph().find_illegal_dependencies_for_layers(layers, containers={"barnabee"})
    assert [f"{one.importer} imports {one.imported}" for one in illegal] == []


def test_the_import_graph_has_no_cycle() -> None:
    assert import_graph().nominate_cycle_breakers("barnabee") == set()


@pytest.mark.parametrize(
    ("owner", "library"), [(owner, name) for owner, names in OWNERS.items() for name in names]
)
def test_library_is_imported_by_its_owner_alone(owner: str, library: str) -> None:
    graph = import_graph()
    importers = graph.find_modules_that_directly_import(library) if library in graph.modules else ()
    assert {name for name in importers if not name.startswith(f"{owner}.")} == set()
