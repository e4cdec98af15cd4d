"""Documented commands that print something evaluate, and documented images exist."""

from __future__ import annotations

import re

import pytest

from support.nix import ROOT, evaluate, needs_nixpkgs

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docs/install/compose.md").read_text(encoding="utf-8")
PRINTED = re.findall(r"nix eval --(raw|json) '\.#nixosConfigurations\.([^']+)'", PAGE)


def test_attributes_of_the_documented_commands_exist() -> None:
    assert len(PRINTED) >= 8
    shown = [
        f"(hosts.hosts.{path})" if form == "json" else f"(toString hosts.hosts.{path})"
        for form, path in PRINTED
    ]
    for (_, path), text in zip(PRINTED, evaluate(f"[ {' '.join(shown)} ]"), strict=True):
        assert text, path


def test_documented_images_are_those_of_the_flake() -> None:
    made = set(evaluate("hosts.oci.names"))
    loop = re.search(r"^for name in (.+); do$", COMPOSE, re.MULTILINE)
    assert loop
    assert {f"oci-{name}" for name in loop[1].split()} | {"oci-gpu-cpu"} == made
