"""`barnabee backup`: state of the backups, snapshots, restore drills and the recovery kit."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.backup.snapshots import SnapshotState, StepProgress
    from barnabee.cli.database_context import DatabaseContext

app = typer.Typer(help="Backups of the database.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MIB = 1024 * 1024


@app.command("status")
def show_backup_status(as_json: AsJson = False) -> None:
    """Show replica lag, the last snapshot and drill, restore points."""
    import json

    from barnabee.backup import status as backup_status
    from barnabee.cli import database_context

    with database_context.read_context(companions=False) as context:
        now = backup_status.local_now(context.settings)
        status = asyncio.run(backup_status.collect_status(context.system, context.settings, now))
    echo(json.dumps(status, indent=2) if as_json else _format_status(status))


@app.command("pin")
def pin_database(
    reason: Annotated[
        str, typer.Option("--reason", help="Purpose of the restore point.")
    ] = "manual",
) -> None:
    """Create a restore point that `barnabee rollback-data` can return to."""
    from barnabee.backup import litestream, restore_points
    from barnabee.cli import database_context

    with database_context.read_context(companions=False) as context:
        database = context.settings.database_path
        read_txid = litestream.make_txid_reader(context.settings)
        point = restore_points.create_restore_point(database, reason, read_txid)
    position = f"transaction {point.txid}" if point.txid else "transaction unknown"
    echo(f"{point.id}: schema {point.schema}, {position}")


@app.command("snapshot")
def make_snapshot() -> None:
    """Make a snapshot, copy it off-site and delete expired ones."""
    from barnabee.backup import snapshot_job
    from barnabee.cli import database_context
    from barnabee.up.console import show_steps

    with database_context.read_context(companions=False) as context, show_steps() as report:
        made = snapshot_job.run_snapshot_job(context.system, context.settings, on_progress=report)
    echo(f"{_describe_made(made)}: {made.rows} rows, {made.bytes} bytes, {made.count} kept")
    if made.missing:
        echo(made.missing, err=True)


@app.command("drill")
def run_drill(
    accept_collapse: Annotated[
        bool,
        typer.Option(
            "--accept-collapse",
            help="Rows were deleted on purpose: compare with what is left from now on.",
        ),
    ] = False,
) -> None:
    """Restore the newest replica and snapshot into a temporary directory and compare them."""
    from barnabee.backup import drill
    from barnabee.backup import status as backup_status
    from barnabee.cli import database_context
    from barnabee.up.console import show_steps

    with database_context.read_context() as context, show_steps() as report:
        backup_status.clear_drill_request(context.settings)

        _make_first_snapshot(context, report)
        result = asyncio.run(
            drill.run_drill(
                *(context.system, context.settings),
                on_progress=report,
                accept_collapse=accept_collapse,
            )
        )
    echo(
        f"{result.rows} rows at transaction {result.txid}, snapshot {result.snapshot}; "
        f"{result.took_ms / 1000:.1f} s, CPU time {result.cpu_ms / 1000:.1f} s"
    )
    drill.require_success(result)
    echo("both copies were restored, are intact and identical")


@app.command("kit")
def make_recovery_kit() -> None:
    """Print the recovery kit: where the snapshots are, and their password."""
    from barnabee.backup import snapshot_job
    from barnabee.cli import database_context

    with database_context.read_context(companions=False) as context:
        echo(snapshot_job.print_kit(context.system, context.settings))


@app.command("audio")
def copy_recordings() -> None:
    """Copy recordings to your own storage (backup.audio_to)."""
    from barnabee.backup import recordings_copy
    from barnabee.cli import database_context

    with database_context.read_context(companions=False) as context:
        recordings_copy.copy_recordings(context.system, context.settings)
    echo("copied")


def _make_first_snapshot(context: DatabaseContext, report: StepProgress) -> None:
    """Make a snapshot if there is none, so that a drill on the first day has one to restore."""
    from barnabee.backup import restore_sources, snapshot_job
    from barnabee.core.errors import BarnabeeError, NotFound

    # Whatever prevents it is for the drill to find and to record.
    with suppress(BarnabeeError):
        try:
            restore_sources.find_snapshot_source(
                context.system, context.settings, prefer_offsite=True
            )
        except NotFound:
            snapshot_job.run_snapshot_job(context.system, context.settings, on_progress=report)


def _format_status(status: dict[str, Any]) -> str:
    replica, snapshot, drill = status["replica"], status["snapshot"], status["drill"]
    lag = replica["lag_transactions"]
    lines = [
        ("replica", replica["url"]),
        ("lag", f"{lag} transactions" if lag is not None else replica["error"]),
        ("last snapshot", _format_snapshot(snapshot)),
        ("last drill", _format_drill(drill["last"])),
        ("last verified restore", drill["last_verified_at"] or "never"),
        ("next drill", drill["next_at"] + (" (requested now)" if drill["requested"] else "")),
        ("off-site", status["offsite"] or "not configured"),
    ]
    lines += [
        ("restore point", f"{point['id']}  {point['reason']}, schema {point['schema']}")
        for point in status["pins"]
    ]
    if status["restored"]:
        lines.append(
            ("restored", f"{status['restored']['at']} from {status['restored']['source']}")
        )
    lines += [("warning", warning) for warning in status["warnings"]]
    return "\n".join(f"{name:>21}  {value}" for name, value in lines)


def _format_snapshot(snapshot: dict[str, Any]) -> str:
    if snapshot["at"] is None:
        return "none"
    kind = "encrypted" if snapshot["encrypted"] else "a plain copy"
    return f"{snapshot['at']}, {snapshot['bytes'] / _MIB:.1f} MiB, {kind}, {snapshot['count']} kept"


def _describe_made(made: SnapshotState) -> str:
    return f"snapshot {made.id}, encrypted" if made.id else "plain copy, not encrypted"


def _format_drill(last: dict[str, Any] | None) -> str:
    if last is None:
        return "never"
    if not last["success"]:
        return f"{last['started_at']} FAILED at {last['step']}: {last['reason']} [{last['code']}]"
    return f"{last['started_at']}, {last['rows']} rows identical, {last['took_ms'] / 1000:.1f} s"
