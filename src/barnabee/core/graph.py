"""Questions about the graph of services that need no I/O: order, cycles, clashes, budgets.

Pure. Works on the tables of `core.system`; knows no service by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import chain, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barnabee.core.schema import Service, System

VOICE_BLEND_PERCENT = 100


def problems(system: System) -> list[tuple[str, str]]:
    """Return (key, what to do) for everything types alone cannot see; empty when all is well."""
    checks = (
        _references,
        _clashing_names,
        _ports,
        _cycles,
        _probes,
        _vram,
        _waits,
        _voice,
        _bands,
        _talk,
        _recording,
        _backup,
        _standby,
    )
    return list(chain.from_iterable(check(system) for check in checks))


def start_order(nodes: Mapping[str, Service]) -> list[str]:
    """Return names so that each comes after everything it needs; wants do not order."""
    known = {name: [need for need in node.needs if need in nodes] for name, node in nodes.items()}
    return list(TopologicalSorter(known).static_order())


def ordering(nodes: Mapping[str, Service]) -> dict[str, list[str]]:
    """Return for each name whom it starts after: its needs, and its wants as far as they go.

    Two that want each other cannot both be second: a want that would close a circle, by the
    alphabet, orders nothing. nixos/lib/system.nix has the same rule for units.
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
    return start == goal or any(_reaches(one, goal, after) for one in after[start])


def vram_totals(system: System) -> dict[str, int]:
    """Return MiB reserved and at peak, for the preloaded models and with every model active."""
    preloaded = [model for model in system.model.values() if model.preload]
    lazy = [model for model in system.model.values() if not model.preload]
    fallback = sum(model.vram_peak_mib for model in lazy)
    reserved = sum(model.vram_reserved_mib for model in preloaded)
    peak = sum(model.vram_peak_mib for model in preloaded)
    return {
        "normal_reserved_mib": reserved,
        "normal_peak_mib": peak,
        "fallback_reserved_mib": reserved + fallback,
        "fallback_peak_mib": peak + fallback,
    }


def _tables(system: System) -> Iterator[tuple[str, str, Service]]:
    for kind, table in (("service", system.service), ("companion", system.companion)):
        for name, node in table.items():
            yield f"{kind}.{name}", name, node


def _references(system: System) -> Iterator[tuple[str, str]]:
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
            yield f"{key}.wants", f"{both!r} is in needs too; keep one"
        for need in node.needs:
            if key.startswith("service.") and need in system.companion:
                yield f"{key}.needs", f"{need!r} is only there locally; use wants"


def _clashing_names(system: System) -> Iterator[tuple[str, str]]:
    for name in sorted(system.service.keys() & system.companion.keys()):
        yield f"companion.{name}", "a service has this name; rename one of them"


def _ports(system: System) -> Iterator[tuple[str, str]]:
    owner: dict[int, str] = {}
    for key, _, node in _tables(system):
        if node.port is None:
            continue
        first = owner.setdefault(node.port, key)
        if first != key:
            yield f"{key}.port", f"{node.port} is the port of {first}; choose another"


def _cycles(system: System) -> Iterator[tuple[str, str]]:
    try:
        start_order(system.nodes())
    except CycleError as error:
        path = " -> ".join(reversed(error.args[1]))
        yield f"service.{error.args[1][0]}.needs", f"{path} is a cycle; turn one of them into wants"


def _probes(system: System) -> Iterator[tuple[str, str]]:
    for key, _, node in _tables(system):
        if (node.kind == "oneshot") != (node.probe == "exit"):
            yield f"{key}.probe", 'a oneshot has probe "exit" and a daemon another; change one'
        if node.kind == "daemon" and node.port is None:
            yield f"{key}.port", "a daemon is asked for its health on a port; add it"


def _vram(system: System) -> Iterator[tuple[str, str]]:
    for name, model in system.model.items():
        if model.vram_peak_mib < model.vram_reserved_mib:
            yield f"model.{name}.vram_peak_mib", "is below vram_reserved_mib; raise it"
        if not model.vram_peak_mib:
            yield f"model.{name}.vram_peak_mib", "is 0; say what the model takes at most"
        if model.vram_reserved_mib and not model.preload:
            yield (
                f"model.{name}.vram_reserved_mib",
                "nothing is reserved for a model that is not preloaded; make it 0, or preload it",
            )
    if system.card.headroom_mib >= system.card.vram_mib:
        yield "card.headroom_mib", "leaves nothing of vram_mib; lower it"
    usable = system.card.vram_mib - system.card.headroom_mib
    totals = vram_totals(system)
    peak = totals["fallback_peak_mib"]
    if peak > usable:
        remedy = f"all at peak take {peak} MiB of the {usable} MiB {system.card.name} can give"
        yield "model", f"{remedy} after its headroom; shrink a vram_peak_mib or remove a model"


def _waits(system: System) -> Iterator[tuple[str, str]]:
    for name, model in system.model.items():
        if model.reload_cost_ms >= system.card.wait_limit_ms:
            remedy = "is not below card.wait_limit_ms, so nobody would live to see it loaded"
            yield f"model.{name}.reload_cost_ms", f"{remedy}; raise the limit"
        if model.lease_limit_ms > system.card.turn_limit_ms:
            remedy = "is above card.turn_limit_ms, but a turn outlasts its inferences"
            yield f"model.{name}.lease_limit_ms", f"{remedy}; lower it"


def _voice(system: System) -> Iterator[tuple[str, str]]:
    total = sum(system.voice.blend.values())
    if total != VOICE_BLEND_PERCENT:
        yield "voice.blend", f"the weights add up to {total}; make them add up to 100"


def _bands(system: System) -> Iterator[tuple[str, str]]:
    if system.intent.ask_permille > system.intent.accept_permille:
        yield "intent.ask_permille", "is above accept_permille; lower it"
    if system.filler.none_below_ms >= system.filler.acknowledgment_below_ms:
        yield "filler.none_below_ms", "is not below acknowledgment_below_ms; lower it"


def _talk(system: System) -> Iterator[tuple[str, str]]:
    talk = system.talk
    if talk.media_port_last - talk.media_port_first < talk.rooms_max:
        yield "talk.media_port_last", "leaves no port for each of rooms_max rooms; raise it"
    for name, service in system.nodes().items():
        if service.port and talk.media_port_first <= service.port <= talk.media_port_last:
            yield "talk.media_port_first", f"the port of {name} is in this range; move one of them"
    silences = ("judge_ms", "pause_ms", "whole_ms", "wait_ms")
    for shorter, longer in pairwise(silences):
        if getattr(talk, longer) < getattr(talk, shorter):
            yield f"talk.{longer}", f"is below {shorter}; raise it"
    if talk.hint_ms >= talk.barge_in_ms:
        yield "talk.hint_ms", "is not below barge_in_ms; lower it"


def _recording(system: System) -> Iterator[tuple[str, str]]:
    if system.recording.enabled and not system.recording.rooms:
        yield "recording.rooms", "names no room, so nothing is recorded; name one, or disable it"


def _backup(system: System) -> Iterator[tuple[str, str]]:
    steps = system.replica.compact_every_s
    if steps != sorted(set(steps)):
        yield "replica.compact_every_s", "is not ascending; put the shortest first"
    if system.backup.offsite and ":" not in system.backup.offsite:
        yield "backup.offsite", "names no remote of rclone; write it like nas:barnabee"


def _standby(system: System) -> Iterator[tuple[str, str]]:
    table = system.standby
    # A round is a write, a look, and one of them tried again; then there must be time to stop.
    round_s = 3 * table.request_limit_ms / 1000
    if table.lease_s - table.stop_s < table.renew_s + round_s:
        remedy = "leaves no time for a renewal that fails once before writing must stop; raise it"
        yield "standby.lease_s", remedy
    litestream = system.service.get("litestream")
    if litestream and table.stop_s <= litestream.stop_timeout_s:
        remedy = "is not above service.litestream.stop_timeout_s, which it must see through"
        yield "standby.stop_s", f"{remedy}; raise it"
