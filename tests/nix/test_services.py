"""Services on NixOS: the recordings of the voice service, and a host without nginx."""

from __future__ import annotations

import re
from typing import Any

import pytest

from support.nix import evaluate, needs_nixpkgs

pytestmark = [needs_nixpkgs, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def core_without_nginx() -> Any:
    module = "{ lib, ... }: { services.nginx.enable = lib.mkForce false; }"
    return evaluate(
        f"""
        let host = hosts.hosts.barnabee-core.extendModules {{ modules = [ ({module}) ]; }};
        in hosts.report "barnabee-core" ({module})
          // {{ secrets = host.config.barnabee.secrets.used; }}
        """
    )


def test_the_voice_service_reads_its_recordings_from_the_nix_store(core_without_nginx: Any) -> None:
    """A link in the data directory would be lost with the disk."""
    unit = core_without_nginx["units"]["barnabee-voice.service"]
    assert re.search(r'^Environment="BARNABEE_FILLERS=/nix/store/\S+-fillers"$', unit, re.MULTILINE)
    assert not [rule for rule in core_without_nginx["folders"] if "fillers" in rule]


def test_without_nginx_there_is_no_unit_of_it_and_no_certificate(core_without_nginx: Any) -> None:
    found = core_without_nginx
    assert found["failed"] == []
    assert "nginx.service" not in found["known"]
    assert not {"tls_certificate", "tls_key"} & set(found["secrets"])
    assert "barnabee-api.service" in found["known"]
