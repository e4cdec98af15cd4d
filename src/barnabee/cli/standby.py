"""`barnabee standby`: status of the lease, and the commands that change it.

systemd units start `keep` and `follow`; keepalived and operators use `promote` and `demote`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.backup.cold_start import ColdStartOutcome
    from barnabee.core.schema import StandbyConfig, System
    from barnabee.core.settings import Settings
    from barnabee.standby.roles import Role, StateFiles

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

StateDirectory = Annotated[
    Path, typer.Option("--state", help="Directory of the lease keeper's persistent state.")
]
STATE = Path("/var/lib/barnabee-lease")
RUNTIME = "/run/barnabee-lease"
POLL_S = 0.25
_ACTIVITIES = {
    "hold": "writes and replicates",
    "serve": "serves without the lease; writes wait in the queue",
    "follow": "follows",
    "": "waits",
}


@app.callback()
def standby_group() -> None:
    """Failover between two machines, of which one may write."""


@app.command("keep")
def keep_lease(
    host: Annotated[str, typer.Option(help="This machine's name in system.toml.")],
    other: Annotated[
        list[str], typer.Option(help="Another machine that may hold the lease; repeatable.")
    ],
    desired_role: Annotated[
        str,
        typer.Option(
            "--desired-role", "--wish", help="hold or follow, until `promote` or `demote` is run."
        ),
    ],
    writer: Annotated[
        Path | None, typer.Option(help="File that exists while litestream runs.")
    ] = None,
    state: StateDirectory = STATE,
) -> None:
    """Keep this machine's lease and publish its roles (started by a unit)."""
    import asyncio

    from barnabee.backup import litestream
    from barnabee.clients.s3 import S3Bucket
    from barnabee.core.settings import require_credential
    from barnabee.standby.lease_keeper import LeaseKeeper, Peers
    from barnabee.standby.roles import DesiredRole

    system, settings, files = _load("lease", state)

    async def run_keeper() -> None:
        bucket = S3Bucket(
            litestream.replica_endpoint(system, settings),
            system.replica.region,
            system.replica.bucket,
            (require_credential("b2_key_id"), require_credential("b2_application_key")),
            limit_s=system.standby.request_limit_ms / 1000,
        )
        peers = Peers(host, tuple(other), DesiredRole(desired_role), writer)
        await LeaseKeeper(system, peers, files, bucket).run()

    asyncio.run(run_keeper())


@app.command("follow")
def follow_holder(
    redis: Annotated[list[str], typer.Option(help="HOST=ADDRESS:PORT of another machine's Redis.")],
    state: StateDirectory = STATE,
) -> None:
    """Copy the lease holder's database and Redis continuously (started by a unit)."""
    import asyncio

    from barnabee.core.redis_client import RedisClient, add_password
    from barnabee.standby.follower import Follower, RedisEndpoints

    system, settings, files = _load("follow", state)
    others = dict(_parse_redis_address(text) for text in redis)

    async def run_follower() -> None:
        own = RedisClient(add_password(settings.redis_url, "standby"))
        try:
            await Follower(system, settings, files, RedisEndpoints(own, others)).run()
        finally:
            await own.aclose()

    asyncio.run(run_follower())


@app.command("promote")
def promote_machine(
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until this machine holds the lease.")
    ] = True,
    state: StateDirectory = STATE,
) -> None:
    """Take over once the other machine has released the lease or it has expired."""
    from barnabee.standby.roles import DesiredRole, Role

    system, _, files = _load(None, state)
    files.write_desired_role(DesiredRole.HOLD)
    files.set_address_yielded(False)
    if wait:
        _wait_for_role(files, Role.HOLD, system.standby.takeover_s)
        echo(f"promoted: epoch {files.read_status().get('own_line')}", err=True)


@app.command("demote")
def demote_machine(
    aside: Annotated[
        bool,
        typer.Option("--aside/--no-aside", help="Leave the virtual IP to the other machine."),
    ] = True,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the lease is released.")
    ] = True,
    state: StateDirectory = STATE,
) -> None:
    """Stop writing, release the lease, and follow the machine that acquires it."""
    from barnabee.standby.roles import DesiredRole, Role

    system, _, files = _load(None, state)
    files.write_desired_role(DesiredRole.FOLLOW)
    if aside:
        files.set_address_yielded(True)
    if wait:
        limit_s = system.standby.lease_s * 2
        _wait_for_role(files, Role.FOLLOW, limit_s)
        _wait_until(lambda: files.read_status().get("left_s") == 0, limit_s, "was not released")
        echo("demoted", err=True)


@app.command("status")
def show_status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    state: StateDirectory = STATE,
) -> None:
    """Show who holds the lease, what this machine does, and how current its copy is."""
    from barnabee.core.errors import DependencyDown
    from barnabee.standby import bootstrap
    from barnabee.standby.follower import read_follow_status

    system, settings, files = _load(None, state)
    keeper_status = files.read_status()
    if not keeper_status:
        reason = f"no status in {files.runtime}; see barnabee-lease.service"
        raise DependencyDown(dependency="the lease keeper", reason=reason)
    status: dict[str, Any] = {**keeper_status, "aside": files.is_address_yielded}
    status["follow"] = read_follow_status(settings.database_path.parent)
    status["set_aside"] = bootstrap.list_set_aside(settings.database_path)
    if as_json:
        echo(json.dumps(status))
        return
    for line in describe_status(status, system.standby):
        echo(line)


def describe_status(status: Mapping[str, Any], config: StandbyConfig) -> Iterator[str]:
    """Yield the lines of `barnabee standby status`, most important first."""
    holder = status.get("holder") or "no machine"
    yield f"lease     held by {holder}, epoch {status['line']}"
    role = next((name for name in ("hold", "serve", "follow") if name in status["signs"]), "")
    left = f", {status['left_s']} s until its lease expires" if status["left_s"] else ""
    yield f"here      {status['host']} {_ACTIVITIES[role]} (desired role: {status['wish']}){left}"
    if not status["heard"]:
        yield f"store     does not answer: {status['reason']}"
    copy = status.get("follow") or {}
    if copy and role == "follow":
        at = datetime.fromtimestamp(copy["at"], UTC)
        age = f"checked at {at:%H:%M:%S} UTC, every {config.follow_s} s"
        yield f"copy      epoch {copy['line']}, transaction {copy['txid']}, {age}"
    if status["aside"]:
        yield "address   left to the other machine"
    for entry in status["set_aside"]:
        yield f"set aside {entry['folder']}: {_describe_rows(entry['unreplicated'])}"


def _describe_rows(rows: Mapping[str, list[str]] | None) -> str:
    if rows is None:
        return "not compared"
    if not any(rows.values()):
        return "every row is in the database that replaced it"
    counts = ", ".join(f"{len(ids)} {table}" for table, ids in rows.items())
    return f"{counts} that exist nowhere else"


async def prepare_standby_database(settings: Settings) -> ColdStartOutcome:
    """Put the newest database in place, and end replication into this machine's Redis."""
    from barnabee.core.redis_client import RedisClient, add_password
    from barnabee.core.system import load_system
    from barnabee.standby import replication
    from barnabee.standby.bootstrap import prepare_database

    outcome = await prepare_database(load_system(), settings)
    own = RedisClient(add_password(settings.redis_url, "standby"))
    try:
        await replication.promote_redis(own)
    finally:
        await own.aclose()
    return outcome


def _load(component: str | None, state: Path) -> tuple[System, Settings, StateFiles]:
    from barnabee.core.logging import configure_logging
    from barnabee.core.settings import read_settings
    from barnabee.core.system import load_system
    from barnabee.standby.roles import StateFiles

    system = load_system()
    settings = read_settings(system)
    if component is not None:
        configure_logging(component, level=settings.log_level)
    return system, settings, StateFiles(Path(settings.lease_dir or RUNTIME), state)


def _parse_redis_address(text: str) -> tuple[str, tuple[str, int]]:
    from barnabee.core.errors import BadRequest

    host, _, address = text.partition("=")
    name, _, port = address.rpartition(":")
    if not (host and name and port.isdecimal()):
        raise BadRequest(field="--redis", reason=f"{text!r} is not like core=10.77.0.12:6379")
    return host, (name, int(port))


def _wait_for_role(files: StateFiles, role: Role, limit_s: int) -> None:
    problem = f"did not lead to the role {role.value!r}"
    _wait_until(lambda: role in files.read_roles(), limit_s, problem, files)


def _wait_until(
    condition: Callable[[], bool], limit_s: int, problem: str, files: StateFiles | None = None
) -> None:
    import time

    from barnabee.core.errors import LeaseNotHeld

    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            why = (files.read_status().get("reason") if files else "") or "the other machine has it"
            raise LeaseNotHeld(reason=f"the lease {problem} within {limit_s} s ({why})")
        time.sleep(POLL_S)
