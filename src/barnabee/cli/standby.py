"""`barnabee standby`: who holds the lease, and the commands that change it.

`keep` and `follow` are what units start; `promote` and `demote` are for keepalived and for people.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from barnabee.backup.cold_start import Outcome
    from barnabee.core.schema import System
    from barnabee.core.settings import Settings
    from barnabee.standby.roles import Sign
    from barnabee.standby.state_files import Notes

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

StateDirectory = Annotated[
    Path, typer.Option("--state", help="Where the keeper's notes outlast it.")
]
STATE = Path("/var/lib/barnabee-lease")
RUNTIME = "/run/barnabee-lease"
LOOK_EVERY_S = 0.25


@app.callback()
def standby() -> None:
    """Two machines, one of which may write."""


@app.command()
def keep(
    host: Annotated[str, typer.Option(help="This machine, as system.toml calls it.")],
    other: Annotated[list[str], typer.Option(help="Another machine that may hold the lease.")],
    wish: Annotated[str, typer.Option(help="hold or follow, until somebody says otherwise.")],
    writer: Annotated[
        Path | None, typer.Option(help="A file that is there while litestream runs.")
    ] = None,
    state: StateDirectory = STATE,
) -> None:
    """Keep the lease of this machine and show what follows from it (a unit starts this)."""
    import asyncio

    from barnabee.backup import litestream
    from barnabee.clients.s3 import Bucket
    from barnabee.core.settings import required_credential
    from barnabee.standby.lease_keeper import House, Keep
    from barnabee.standby.roles import Wish

    graph, chosen, notes = _here("lease", state)

    async def work() -> None:
        bucket = Bucket(
            litestream.endpoint(graph, chosen),
            graph.replica.region,
            graph.replica.bucket,
            (required_credential("b2_key_id"), required_credential("b2_application_key")),
            limit_s=graph.standby.request_limit_ms / 1000,
        )
        house = House(host, tuple(other), Wish(wish), writer)
        try:
            await Keep(graph, house, notes, bucket).run()
        finally:
            await bucket.aclose()

    asyncio.run(work())


@app.command()
def follow(
    redis: Annotated[list[str], typer.Option(help="HOST=ADDRESS:PORT of another machine's Redis.")],
    state: StateDirectory = STATE,
) -> None:
    """Keep a fresh copy of what the holder writes (a unit starts this)."""
    import asyncio

    from barnabee.core.redis_client import RedisLink
    from barnabee.standby.follower import Follow, Redises

    graph, chosen, notes = _here("follow", state)
    others = dict(_redis_address(one) for one in redis)

    async def work() -> None:
        own = RedisLink(chosen.redis_url)
        try:
            await Follow(graph, chosen, notes, Redises(own, others)).run()
        finally:
            await own.aclose()

    asyncio.run(work())


@app.command()
def promote(
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the services are told to start.")
    ] = True,
    state: StateDirectory = STATE,
) -> None:
    """Take over as soon as the lease is free: the other machine released it, or let it run out."""
    from barnabee.standby.roles import Sign, Wish

    graph, _, notes = _here(None, state)
    notes.set_wish(Wish.HOLD)
    notes.stand_aside(False)
    if wait:
        _until_shown(notes, Sign.HOLD, graph.standby.takeover_s)
        typer.echo(f"promoted: line {notes.told().get('own_line')}", err=True)


@app.command()
def demote(
    aside: Annotated[
        bool,
        typer.Option("--aside/--no-aside", help="Leave the house's address to the other machine."),
    ] = True,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the lease is released.")
    ] = True,
    state: StateDirectory = STATE,
) -> None:
    """Stop writing, release the lease, and follow whoever takes it."""
    from barnabee.standby.roles import Sign, Wish

    graph, _, notes = _here(None, state)
    notes.set_wish(Wish.FOLLOW)
    if aside:
        notes.stand_aside(True)
    if wait:
        _until_shown(notes, Sign.FOLLOW, graph.standby.lease_s * 2)
        _until(lambda: notes.told().get("left_s") == 0, graph.standby.lease_s * 2, "be released")
        typer.echo("demoted", err=True)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    state: StateDirectory = STATE,
) -> None:
    """Say who holds the lease, what this machine does, and how fresh its copy is."""
    from barnabee.core.errors import DependencyDown
    from barnabee.standby import status as texts
    from barnabee.standby.follower import followed

    graph, chosen, notes = _here(None, state)
    told = notes.told()
    if not told:
        reason = f"it has said nothing in {notes.runtime}; look at barnabee-lease.service"
        raise DependencyDown(dependency="the keeper of the lease", reason=reason)
    found: dict[str, Any] = {**told, "aside": notes.stands_aside}
    found["follow"] = followed(chosen.database_path.parent)
    found["set_aside"] = texts.set_aside(chosen.database_path)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for line in texts.lines(found, graph.standby):
        typer.echo(line)


async def settled(chosen: Settings) -> Outcome:
    """Put the right database in place, and end being a copy of another's Redis."""
    from barnabee.core import system
    from barnabee.core.redis_client import RedisLink
    from barnabee.standby import redis_replication
    from barnabee.standby.bootstrap import settle

    outcome = await settle(system.load(of_first_line=True), chosen)
    own = RedisLink(chosen.redis_url)
    try:
        await redis_replication.lead(own)
    finally:
        await own.aclose()
    return outcome


def _here(component: str | None, state: Path) -> tuple[System, Settings, Notes]:
    from barnabee.core import logging, settings, system
    from barnabee.standby.state_files import Notes

    graph = system.load(of_first_line=True)
    chosen = settings.load(graph)
    if component is not None:
        logging.configure(component, level=chosen.log_level)
    return graph, chosen, Notes(Path(chosen.lease_dir or RUNTIME), state)


def _redis_address(text: str) -> tuple[str, tuple[str, int]]:
    from barnabee.core.errors import BadRequest

    host, _, address = text.partition("=")
    name, _, port = address.rpartition(":")
    if not (host and name and port.isdecimal()):
        raise BadRequest(field="--redis", reason=f"{text!r} is not like core=10.77.0.12:6379")
    return host, (name, int(port))


def _until_shown(notes: Notes, sign: Sign, limit_s: int) -> None:
    _until(lambda: sign in notes.shown(), limit_s, f"show the sign {sign.value!r}", notes)


def _until(true: Any, limit_s: int, what: str, notes: Notes | None = None) -> None:
    import time

    from barnabee.core.errors import NotTheHolder

    deadline = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > deadline:
            why = (notes.told().get("reason") if notes else "") or "the other machine has it"
            raise NotTheHolder(reason=f"the lease did not {what} within {limit_s} s ({why})")
        time.sleep(LOOK_EVERY_S)
