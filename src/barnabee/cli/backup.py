"""`barnabee backup`: how safe what the house remembers is, and what can be done for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from barnabee.backup.cpu_limit import Pace
    from barnabee.cli.database_context import Place

app = typer.Typer(help="Backups of the database.", no_args_is_help=True)

Gentle = Annotated[
    bool, typer.Option("--gentle", help="Take no more of a core than backup.cpu_percent says.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MIB = 1024 * 1024


@app.command()
def status(as_json: AsJson = False) -> None:
    """Print lag, last snapshot, last verified restore, next drill, calls today."""
    import json

    from barnabee.backup import status as backup_status
    from barnabee.cli import database_context

    with database_context.told(companions=False) as here:
        now = backup_status.house_now(here.settings)
        found = asyncio.run(backup_status.look(here.system, here.settings, now))
    typer.echo(json.dumps(found, indent=2) if as_json else _text(found))


@app.command()
def pin(
    reason: Annotated[str, typer.Option("--reason", help="What the pin is for.")] = "by hand",
) -> None:
    """Remember this moment, so that `barnabee rollback-data` can return to it."""
    from barnabee.backup import litestream, restore_points
    from barnabee.cli import database_context

    with database_context.told(companions=False) as here:
        database = here.settings.database_path
        found = restore_points.pin(database, reason, litestream.txid_asker(here.settings))
    at = f"transaction {found.txid}" if found.txid else "litestream was not asked"
    typer.echo(f"{found.id}: schema {found.schema}, {at}")


@app.command()
def snapshot(gentle: Gentle = False) -> None:
    """Make a snapshot now, copy it off-site, and delete those that are too old."""
    from barnabee.backup import litestream, snapshot_job
    from barnabee.cli import database_context
    from barnabee.cli.progress import shown

    with database_context.told(companions=False) as here, shown() as tell:
        ask = litestream.txid_asker(here.settings)
        pace = _pace(here, gentle=gentle)
        made = snapshot_job.run(here.system, here.settings, ask, pace=pace, tell=tell)
    kind = "encrypted" if made.encrypted else "not encrypted, because there is no recovery key"
    typer.echo(f"{made.file}: {made.content.rows} rows, {made.packed.file_bytes} bytes, {kind}")


@app.command()
def drill(gentle: Gentle = False) -> None:
    """Restore the newest replica and the newest snapshot to scratch, and compare them."""
    from barnabee.backup import drill as drills
    from barnabee.backup import status as backup_status
    from barnabee.cli import database_context
    from barnabee.cli.progress import shown

    with database_context.told() as here, shown() as tell:
        backup_status.begun(here.settings)
        pace = _pace(here, gentle=gentle)
        done = asyncio.run(drills.run(here.system, here.settings, pace=pace, tell=tell))
    typer.echo(
        f"{done.rows} rows at transaction {done.txid}, snapshot {done.snapshot}; "
        f"{done.took_ms / 1000:.1f} s, of which the processor {done.cpu_ms / 1000:.1f} s"
    )
    drills.require_good(done)
    typer.echo("restored, sound and equal")


@app.command()
def kit() -> None:
    """Make a recovery key and print the kit: paper for the drawer, once."""
    from barnabee.backup import keys
    from barnabee.cli import database_context
    from barnabee.core.errors import BadInput

    with database_context.told(companions=False) as here:
        known = keys.recovery_recipient(here.system)
        if known is not None:
            what = (
                f"There is a recovery key already ({known}): try it with `barnabee restore "
                "--rehearse-recovery-kit`; for a new one take that away first"
            )
            raise BadInput(what=what)
        made = keys.make_kit()
        kept = database_context.keep_recipient(made.recipient)
    typer.echo(_kit_text(made.secret, made.recipient, here, kept))


@app.command()
def audio() -> None:
    """Copy recordings to the house's own storage (backup.audio_to)."""
    from barnabee.backup import recordings_copy as copying
    from barnabee.cli import database_context

    with database_context.told(companions=False) as here:
        copying.run(here.system, here.settings)
    typer.echo("copied")


def _pace(here: Place, *, gentle: bool) -> Pace:
    from barnabee.backup.cpu_limit import Pace, step_back

    if not gentle:
        return Pace()
    step_back()
    return Pace(here.system.backup.cpu_percent)


def _text(found: dict[str, Any]) -> str:
    replica, snapshot, drill = found["replica"], found["snapshot"], found["drill"]
    last = found["drill"]["last"]
    lag = replica["lag_transactions"]
    lines = [
        ("replica", replica["url"]),
        ("lag", f"{lag} transactions" if lag is not None else replica["error"]),
        ("last snapshot", _snapshot_text(snapshot)),
        ("last drill", _drill_text(last)),
        ("last verified restore", drill["last_verified_at"] or "never"),
        ("next drill", drill["next_at"] + (" (asked for now)" if drill["requested"] else "")),
        ("calls today", _calls_text(found["calls_today"])),
        ("off-site", found["offsite"] or "nowhere"),
    ]
    lines += [
        ("pin", f"{one['id']}  {one['reason']}, schema {one['schema']}") for one in found["pins"]
    ]
    if found["restored"]:
        lines.append(("restored", f"{found['restored']['at']} from {found['restored']['source']}"))
    lines += [("note", one) for one in found["warnings"]]
    return "\n".join(f"{name:>21}  {value}" for name, value in lines)


def _calls_text(calls: dict[str, int]) -> str:
    downloads = f"{calls['b']} of {calls['free_b']} free downloads"
    listings = f"{calls['c']} of {calls['free_c']} free listings"
    return f"{calls['a']} uploads and deletions, {downloads}, {listings}"


def _snapshot_text(snapshot: dict[str, Any]) -> str:
    if snapshot["newest"] is None:
        return "none"
    kind = "encrypted" if snapshot["encrypted"] else "not encrypted"
    return f"{snapshot['at']}, {snapshot['bytes'] / _MIB:.1f} MiB, {kind}, {snapshot['count']} kept"


def _drill_text(last: dict[str, Any] | None) -> str:
    if last is None:
        return "never"
    if not last["success"]:
        return f"{last['started_at']} FAILED at {last['step']}: {last['reason']} [{last['code']}]"
    return f"{last['started_at']}, {last['rows']} rows equal, {last['took_ms'] / 1000:.1f} s"


def _kit_text(secret: str, recipient: str, here: Place, kept: str | None) -> str:
    where = here.system.backup.offsite or str(here.settings.data_dir / "snapshots")
    keep = (
        f"The machine keeps the public half in {kept}."
        if kept
        else f"Tell the machine the public half:\n    backup.recovery_recipient = {recipient!r}\n"
        "in system.toml, or barnabee.system.backup.recovery_recipient on NixOS."
    )
    return f"""BarnabeeNet recovery kit

This is the only copy of the key that opens the snapshots. Print it, keep it where the machine is
not, and show it to nobody. It is not kept on the machine.

    {secret}

public half: {recipient}
snapshots:   {where}

{keep}

To try it now, and every few months:   barnabee restore --rehearse-recovery-kit
To restore from the newest snapshot:   barnabee restore --from snapshot --key FILE --force
                                       (--key - asks for the line above)
Without BarnabeeNet:                   age -d -i FILE SNAPSHOT.db.zst.age | zstd -d > barnabee.db
"""
