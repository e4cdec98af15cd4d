"""The language model on the GPU host: its server, its place in the budget, and the api's access."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from support.nix import evaluate, needs_nixpkgs, try_evaluate

pytestmark = [needs_nixpkgs, pytest.mark.timeout(600)]

LLM = "barnabee.llm = {{ enable = true; model = /models/small.gguf; vramMib = {mib}; }};"
FREE_MIB = 15360 - 9728  # beside the preloaded models


@pytest.fixture(scope="module")
def gpu() -> Any:
    return evaluate(f'hosts.report "barnabee-gpu" {{ {LLM.format(mib=FREE_MIB)} }}')


def test_the_gpu_service_starts_its_server(gpu: Any) -> None:
    assert gpu["failed"] == []
    unit = gpu["units"]["barnabee-gpu.service"]
    assert "/bin/llama-server" in unit
    assert "LLM_CONTEXT_TOKENS=8192" in unit
    assert "barnabee-llm.service" not in gpu["units"]


def test_it_is_evicted_for_every_other_model(gpu: Any) -> None:
    models = tomllib.loads(gpu["written"])["model"]
    assert models["llm"]["cuda_files"] == "/models/small.gguf"
    assert not models["llm"]["preload"]
    assert models["llm"]["priority"] > max(
        one["priority"] for name, one in models.items() if name != "llm"
    )


def test_the_api_asks_the_gpu_service_and_needs_no_key() -> None:
    core = evaluate(f'hosts.report "barnabee-core" {{ {LLM.format(mib=512)} }}')
    assert tomllib.loads(core["written"])["llm"]["provider"] == "gpu"
    assert "llm_api_key" not in core["units"]["barnabee-api.service"]


def test_a_model_that_does_not_fit_beside_the_preloaded_models_is_refused() -> None:
    done = try_evaluate(f'hosts.messages "barnabee-gpu" {{ {LLM.format(mib=FREE_MIB + 1)} }}')
    assert f"does not fit into the {FREE_MIB} MiB" in done.stdout
