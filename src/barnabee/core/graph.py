"""Rules across the tables of `system.toml`: start order, cycles, port clashes, VRAM. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import chain, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barnabee.core.schema import ServiceConfig, System

VOICE_BLEND_PERCENT = 100
_EMPTY_CHOICE = re.compile(r"[(\[|]\s*[)\]|]")


def find_problems(system: System) -> list[tuple[str, str]]:
    """Return (key, remedy) of every problem that the schema's types cannot express."""
    checks = (
        _check_references,
        _check_names,
        _check_ports,
        _check_cycles,
        _check_probes,
        _check_vram,
        _check_time_limits,
        _check_voice,
        _check_thresholds,
        _check_talk,
        _check_recording,
        _check_backup,
        _check_standby,
        _check_routines,
    )
    return list(chain.from_iterable(check(system) for check in checks))


def sort_by_needs(nodes: Mapping[str, ServiceConfig]) -> list[str]:
    """Return the names so that each comes after everything it needs; `wants` are ignored.

    Raises graphlib.CycleError.
    """
    needs = {name: [need for need in node.needs if need in nodes] for name, node in nodes.items()}
    return list(TopologicalSorter(needs).static_order())


def compute_start_dependencies(nodes: Mapping[str, ServiceConfig]) -> dict[str, list[str]]:
    """Return for each name the services it starts after: its needs, and its wants if possible.

    Edges are added in alphabetical order; a want that would close a cycle is left out.
    nixos/lib/system.nix has the same rule for units.
    """
    after: dict[str, list[str]] = {name: [] for name in nodes}
    names = sorted(nodes)
    edges = [(name, need) for name in names for need in sorted(nodes[name].needs)]
    edges += [(name, want) for name in names for want in sorted(nodes[name].wants)]
    for name, other in edges:
        if other in nodes and not _reaches(other, name, after):
            after[name].append(other)
    return after


def _reaches(start: str, goal: str, after: Mapping[str, list[str]]) -> bool:
    return start == goal or any(_reaches(name, goal, after) for name in after[start])


def compute_vram_totals(system: System) -> dict[str, int]:
    """Return reserved and peak MiB, of the preloaded models and of all but language models."""
    preloaded = [model for model in system.model.values() if model.preload]
    lazy = [model for model in system.model.values() if not model.preload]
    fallback = sum(model.vram_peak_mib for model in lazy if model.task != "llm")
    reserved = sum(model.vram_reserved_mib for model in preloaded)
    peak = sum(model.vram_peak_mib for model in preloaded)
    return {
        "normal_reserved_mib": reserved,
        "normal_peak_mib": peak,
        "fallback_reserved_mib": reserved + fallback,
        "fallback_peak_mib": peak + fallback,
    }


def _tables(system: System) -> Iterator[tuple[str, str, ServiceConfig]]:
    for kind, table in (("service", system.service), ("companion", system.companion)):
        for name, node in table.items():
            yield f"{kind}.{name}", name, node


def _check_references(system: System) -> Iterator[tuple[str, str]]:
    known = system.nodes()
    for key, name, node in _tables(system):
        for field, others in (("needs", node.needs), ("wants", node.wants)):
            for other in others:
                if other not in known:
                    yield (
                        f"{key}.{field}",
                        f"there is no service or companion {other!r}; add or remove it",
                    )
                elif other == name:
                    yield f"{key}.{field}", "a service cannot depend on itself; remove it"
        for both in sorted(set(node.needs) & set(node.wants)):
            yield f"{key}.wants", f"{both!r} is in needs too; remove one of them"
        for need in node.needs:
            if key.startswith("service.") and need in system.companion:
                yield f"{key}.needs", f"{need!r} only exists locally; use wants"


def _check_names(system: System) -> Iterator[tuple[str, str]]:
    for name in sorted(system.service.keys() & system.companion.keys()):
        yield f"companion.{name}", "a service has the same name; rename one of them"


def _check_ports(system: System) -> Iterator[tuple[str, str]]:
    owner: dict[int, str] = {}
    for key, _, node in _tables(system):
        if node.port is None:
            continue
        first = owner.setdefault(node.port, key)
        if first != key:
            yield f"{key}.port", f"{node.port} is the port of {first}; choose another"


def _check_cycles(system: System) -> Iterator[tuple[str, str]]:
    try:
        sort_by_needs(system.nodes())
    except CycleError as error:
        path = " -> ".join(reversed(error.args[1]))
        yield f"service.{error.args[1][0]}.needs", f"{path} is a cycle; turn one of them into wants"


def _check_probes(system: System) -> Iterator[tuple[str, str]]:
    for key, _, node in _tables(system):
        if (node.kind == "oneshot") != (node.probe == "exit"):
            yield (
                f"{key}.probe",
                'probe "exit" is for a oneshot, others are for a daemon; change one',
            )
        if node.kind == "daemon" and node.port is None:
            yield f"{key}.port", "a daemon needs a port for its health probe; add it"


def _check_vram(system: System) -> Iterator[tuple[str, str]]:
    for name, model in system.model.items():
        if model.vram_peak_mib < model.vram_reserved_mib:
            yield f"model.{name}.vram_peak_mib", "is below vram_reserved_mib; raise it"
        if not model.vram_peak_mib:
            yield f"model.{name}.vram_peak_mib", "is 0; set the peak of the model"
        if model.vram_reserved_mib and not model.preload:
            yield (
                f"model.{name}.vram_reserved_mib",
                "a model that is not preloaded cannot reserve VRAM; set it to 0, or set preload",
            )
    if system.gpu.usable_mib <= 0:
        yield "gpu.headroom_mib", "leaves no memory for models; lower it"
    usable = system.gpu.usable_mib
    totals = compute_vram_totals(system)
    peak = totals["fallback_peak_mib"]
    if peak > usable:
        remedy = f"all models at peak take {peak} MiB, but {system.gpu.name} has {usable} MiB"
        yield "model", f"{remedy} after its headroom; lower a vram_peak_mib or remove a model"
    yield from _check_language_models(system, usable - totals["normal_peak_mib"])


def _check_language_models(system: System, free_mib: int) -> Iterator[tuple[str, str]]:
    """Check that they are evicted for all others, and fit beside the preloaded ones."""
    others = [model.priority for model in system.model.values() if model.task != "llm"]
    for name, model in system.model.items():
        if model.task != "llm":
            continue
        if model.preload:
            yield f"model.{name}.preload", "a language model is loaded on request; set it to false"
        if model.priority <= max(others, default=0):
            remedy = f"set it above {max(others, default=0)}"
            yield f"model.{name}.priority", f"the speech models are not more important; {remedy}"
        if model.vram_peak_mib > free_mib:
            remedy = f"the preloaded models leave {free_mib} MiB of {system.gpu.name}"
            yield f"model.{name}.vram_peak_mib", f"{remedy}; use a smaller model or context"


def _check_time_limits(system: System) -> Iterator[tuple[str, str]]:
    for name, model in system.model.items():
        if model.reload_cost_ms >= system.gpu.wait_limit_ms:
            remedy = "is not below gpu.wait_limit_ms, so requests time out before it is loaded"
            yield f"model.{name}.reload_cost_ms", f"{remedy}; raise that limit"
        if model.lease_limit_ms > system.gpu.turn_limit_ms:
            remedy = "is above gpu.turn_limit_ms, but a turn takes longer than its inferences"
            yield f"model.{name}.lease_limit_ms", f"{remedy}; lower it"


def _check_voice(system: System) -> Iterator[tuple[str, str]]:
    total = sum(system.voice.blend.values())
    if total != VOICE_BLEND_PERCENT:
        yield "voice.blend", f"the weights add up to {total}; make them add up to 100"


def _check_thresholds(system: System) -> Iterator[tuple[str, str]]:
    if system.intent.ask_permille > system.intent.accept_permille:
        yield "intent.ask_permille", "is above accept_permille; lower it"
    if system.filler.none_below_ms >= system.filler.acknowledgment_below_ms:
        yield "filler.none_below_ms", "is not below acknowledgment_below_ms; lower it"


def _check_talk(system: System) -> Iterator[tuple[str, str]]:
    talk = system.talk
    if talk.media_port_last - talk.media_port_first < talk.rooms_max:
        yield "talk.media_port_last", "leaves fewer ports than rooms_max; raise it"
    for name, service in system.nodes().items():
        if service.port and talk.media_port_first <= service.port <= talk.media_port_last:
            yield "talk.media_port_first", f"the port of {name} is in this range; move one of them"
    silences = ("judge_ms", "pause_ms", "whole_ms", "wait_ms")
    for shorter, longer in pairwise(silences):
        if getattr(talk, longer) < getattr(talk, shorter):
            yield f"talk.{longer}", f"is below {shorter}; raise it"
    if talk.hint_ms >= talk.barge_in_ms:
        yield "talk.hint_ms", "is not below barge_in_ms; lower it"


def _check_recording(system: System) -> Iterator[tuple[str, str]]:
    if system.recording.enabled and not system.recording.rooms:
        yield (
            "recording.rooms",
            "is empty, so nothing is recorded; add a room, or disable recording",
        )


def _check_backup(system: System) -> Iterator[tuple[str, str]]:
    steps = system.replica.compact_every_s
    if steps != sorted(set(steps)):
        yield "replica.compact_every_s", "is not ascending; put the shortest first"
    if system.backup.offsite and ":" not in system.backup.offsite:
        yield "backup.offsite", "is no remote of rclone; write it like nas:barnabee"


def _check_standby(system: System) -> Iterator[tuple[str, str]]:
    table = system.standby
    # A renewal is a write, a read and one retry; then there must be time to stop.
    renewal_s = 3 * table.request_limit_ms / 1000
    if table.lease_s - table.stop_s < table.renew_s + renewal_s:
        remedy = "leaves no time to retry a failed renewal before writing must stop; raise it"
        yield "standby.lease_s", remedy
    litestream = system.service.get("litestream")
    if litestream and table.stop_s <= litestream.stop_timeout_s:
        remedy = (
            "is not above service.litestream.stop_timeout_s, so litestream could not stop in time"
        )
        yield "standby.stop_s", f"{remedy}; raise it"


def _check_routines(system: System) -> Iterator[tuple[str, str]]:
    owner: dict[str, str] = {}
    for name, routine in system.routine.items():
        key = f"routine.{name}.sentences"
        for sentence in routine.sentences:
            if not _has_balanced_brackets(sentence):
                yield key, f"{sentence!r} has a bracket without its counterpart; close it"
            if _EMPTY_CHOICE.search(sentence):
                yield key, f"{sentence!r} has a choice without words; remove it"
            first = owner.setdefault(sentence.lower(), key)
            if first != key:
                yield key, f"{sentence!r} is in {first} too; remove one of them"


def _has_balanced_brackets(sentence: str) -> bool:
    expected: list[str] = []
    for character in sentence:
        if character in "([":
            expected.append({"(": ")", "[": "]"}[character])
        elif character in ")]" and (not expected or expected.pop() != character):
            return False
    return not expected
