"""The language model on the GPU host: its unit, its firewall rule, its place in the VRAM budget."""

from __future__ import annotations

from typing import Any

import pytest

from support.nix import evaluate, needs_nixpkgs, try_evaluate

pytestmark = [needs_nixpkgs, pytest.mark.timeout(600)]

LLM = "barnabee.llm = {{ enable = true; model = /models/small.gguf; vramMib = {mib}; }};"


@pytest.fixture(scope="module")
def gpu() -> Any:
    return evaluate(f'hosts.report "barnabee-gpu" {{ {LLM.format(mib=512)} }}')


def test_its_unit_serves_the_model_with_the_key(gpu: Any) -> None:
    assert gpu["failed"] == []
    unit = gpu["units"]["barnabee-llm.service"]
    assert "/bin/llama-server --model /models/small.gguf" in unit
    assert "--port 8003" in unit
    assert "--api-key-file /run/credentials/barnabee-llm.service/llm_api_key" in unit
    assert "LoadCredential=llm_api_key:" in unit
    assert "IPAddressDeny=any" in unit


def test_only_the_core_host_may_connect(gpu: Any) -> None:
    rules = [line for line in gpu["firewall"]["rules"].splitlines() if "dport 8003" in line]
    assert len(rules) == 1


def test_the_api_is_told_its_address() -> None:
    core = evaluate(f'hosts.report "barnabee-core" {{ {LLM.format(mib=512)} }}')
    assert "barnabee-llm.service" not in core["units"]
    assert 'provider = "openai"' in core["written"]
    assert ":8003/v1" in core["written"]
    assert "LoadCredential=llm_api_key:" in core["units"]["barnabee-api.service"]


def test_a_model_that_does_not_fit_beside_the_speech_models_is_refused() -> None:
    done = try_evaluate(f'hosts.messages "barnabee-gpu" {{ {LLM.format(mib=4096)} }}')
    assert "takes 14848 MiB at peak, but barnabee.system.gpu has 11264 MiB" in done.stdout
