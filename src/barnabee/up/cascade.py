"""The whole cascade as it is now: every service asked at the same moment, nothing remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from barnabee.core import system
from barnabee.core.errors import BadRequest, NotFound
from barnabee.core.health import State
from barnabee.core.schema import Service
from barnabee.up.plan import Phase
from barnabee.up.probe import HEALTHY, Look, Prober, silent
from barnabee.up.run_state import NodeState, RunState


@dataclass(frozen=True)
class Asked:
    """One node: how it is, and why it is not well as far as the runner knows."""

    look: Look
    phase: str
    why: str = ""
    last_lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cascade:
    """Every node of the run."""

    nodes: Mapping[str, Asked]
    healthy_s: float | None = None  # how long the start took

    @property
    def good(self) -> bool:
        """Return whether nothing is wrong but what nobody configured."""
        return bool(self.nodes) and all(node.look.good for node in self.nodes.values())

    @property
    def ready(self) -> bool:
        """Return whether every node does its job, if with less."""
        return bool(self.nodes) and all(node.look.ready for node in self.nodes.values())

    @property
    def hopeless(self) -> bool:
        """Return whether waiting cannot help: something was given up."""
        return any(node.phase == Phase.GIVEN_UP for node in self.nodes.values())

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        nodes = {
            name: {
                "status": node.look.state.value,
                "good": node.look.good,
                "phase": node.phase,
                "message": node.why or None,
                "dependencies": node.look.dependencies,
            }
            for name, node in self.nodes.items()
        }
        return {"good": self.good, "healthy_s": self.healthy_s, "services": nodes}


async def ask(run: RunState) -> Cascade:
    """Ask every node of `run`."""
    known = system.load(Path(run.system_file)).nodes()
    prober = Prober()
    try:
        looks = await asyncio.gather(
            *(_ask(prober, known[name], node) for name, node in run.nodes.items())
        )
    finally:
        await prober.aclose()
    nodes = {
        name: Asked(look, node.phase, _why(look, node), node.last_lines)
        for (name, node), look in zip(run.nodes.items(), looks, strict=True)
    }
    return Cascade(nodes, run.healthy_s)


async def ask_at(places: Mapping[str, str]) -> Cascade:
    """Ask services where they are: host by name. For units, where no runner knows of them.

    NotFound when system.toml has no such service, BadRequest when it has nothing to ask.
    """
    known = system.current().nodes()
    for name in places:
        if name not in known:
            raise NotFound(what=f"service {name!r}; known are {', '.join(sorted(known))}")
        if known[name].probe == "exit":
            raise BadRequest(field="--at", reason=f"{name} runs once and cannot be asked")
    looks = await asyncio.gather(*(_ask_one(known[name], host) for name, host in places.items()))
    return Cascade(
        {
            name: Asked(look, Phase.READY if look.ready else Phase.STARTING, look.message)
            for name, look in zip(places, looks, strict=True)
        }
    )


async def _ask_one(node: Service, host: str) -> Look:
    prober = Prober(host)
    try:
        return await prober.look(node)
    finally:
        await prober.aclose()


async def _ask(prober: Prober, node: Service, seen: NodeState) -> Look:
    if node.probe == "exit":
        return _oneshot(seen)
    if seen.phase in {Phase.ABSENT, Phase.FAILED, Phase.GIVEN_UP}:
        return silent("")
    return await prober.look(node)


def _oneshot(seen: NodeState) -> Look:
    if seen.phase == Phase.DONE:
        return HEALTHY
    state = State.UNKNOWN if seen.phase in {Phase.ABSENT, Phase.STARTING} else State.UNHEALTHY
    return Look(answers=False, state=state)


def _why(look: Look, node: NodeState) -> str:
    if look.good:
        return ""
    if node.reason:
        return node.reason
    if node.phase == Phase.ABSENT and node.blocked_by:
        return f"waits for {', '.join(node.blocked_by)}"
    return look.message or node.phase
