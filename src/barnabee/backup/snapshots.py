"""Content of a snapshot, and what is known about the newest one without a key.

barnabee.sql     the database as SQL text
barnabee.json    schema, time, rows per table, and the SHA-256 of that text

<data>/restic               the local repository
<data>/restic_password      its password, where it is no credential
<data>/snapshots.json       the newest snapshot, for the services, which have no password
<data>/plain-copy/          the newest copy where restic is missing
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from barnabee.backup import consistent_copy, integrity
from barnabee.backup.restic import Repository
from barnabee.core.files import sync_file, write_atomically
from barnabee.core.settings import Settings

DUMP, DESCRIPTION = "barnabee.sql", "barnabee.json"
STATE_FILE = "snapshots.json"
PLAIN_COPY = "plain-copy/barnabee.db"
_CHUNK_ROWS = 2000
# `quote` cuts text at a NUL, and writes an infinite number as a name.
_LITERAL = (
    "CASE WHEN typeof({0}) = 'text' AND instr(CAST({0} AS BLOB), x'00') "
    "THEN 'CAST(X''' || hex({0}) || ''' AS TEXT)' "
    "WHEN typeof({0}) = 'real' AND abs({0}) = 9e999 THEN iif({0} > 0, '9e999', '-9e999') "
    "ELSE quote({0}) END"
)

# (step, bytes done, bytes in all or 0)
StepProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SnapshotState:
    """The newest snapshot, and the digests of the recovery kit."""

    id: str | None = None  # of restic; None: a plain copy
    at: str | None = None
    rows: int = 0
    bytes: int = 0  # of the SQL text
    count: int = 0
    missing: str | None = None  # why there is only a plain copy
    kit: str | None = None  # digest of the recovery kit that is needed now
    printed_kit: str | None = None  # and of the one that was printed last

    @property
    def made_at(self) -> datetime | None:
        return datetime.fromisoformat(self.at) if self.at else None


def read_state(settings: Settings) -> SnapshotState:
    """Return the stored state; the initial one when it is missing or unreadable."""
    try:
        text = (settings.data_dir / STATE_FILE).read_text(encoding="utf-8")
        return SnapshotState(**json.loads(text))
    except (OSError, ValueError, TypeError):
        return SnapshotState()


def write_state(settings: Settings, state: SnapshotState) -> None:
    text = json.dumps(asdict(state), indent=2) + "\n"
    write_atomically(settings.data_dir / STATE_FILE, text, mode=0o640, durable=True)


def ignore_progress(_step: str, _done: int, _all: int) -> None:
    """Report nothing."""


def write_files(database: Path, folder: Path, at: datetime) -> dict[str, int]:
    """Write the files of a snapshot of the live `database`; return the rows by table (blocks)."""
    with closing(consistent_copy.connect_live(database, "ro")) as connection:
        # Time order is not key order: rows are read all over the file.
        connection.execute(f"PRAGMA mmap_size = {integrity.MMAP_BYTES}")
        connection.execute("BEGIN")
        rows = write_dump(connection, folder / DUMP)
        schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
    description = {
        "schema": schema,
        "at": at.isoformat(timespec="seconds"),
        "rows": rows,
        "sha256": hash_dump(folder / DUMP),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return rows


def load_files(folder: Path, target: Path) -> None:
    """Write the database in the files of a snapshot to `target`; ValueError if they are damaged."""
    try:
        found = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        rows: Mapping[str, int] = found["rows"]
        if hash_dump(folder / DUMP) != found["sha256"]:
            raise ValueError(f"the checksum of {DUMP} is not that in {DESCRIPTION}")
        target.unlink(missing_ok=True)
        load_dump(folder / DUMP, target)
        if integrity.count_file_rows(target) != rows:
            raise ValueError("its row counts differ from its description")
    except (OSError, KeyError, TypeError, sqlite3.Error) as error:
        raise ValueError(f"it is damaged: {error}") from error


def fetch_database(repository: Repository, snapshot_id: str, target: Path) -> None:
    """Write the database in a snapshot of `repository` to `target` (blocks).

    Raises ValueError when it is damaged, and what restic's errors are.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as scratch:
        repository.restore(snapshot_id, Path(scratch))
        load_files(Path(scratch), target)


# --- SQL text ------------------------------------------------------------------------------------


def write_dump(connection: sqlite3.Connection, target: Path) -> dict[str, int]:
    """Write what `connection` sees to `target`; return the row counts by table.

    The caller holds a read transaction where others may write meanwhile.
    """
    before = connection.text_factory
    connection.text_factory = bytes  # text that is not UTF-8 is content too
    try:
        with target.open("wb") as file:
            file.write(b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n")
            tables = integrity.list_tables(connection)
            for sql in _list_schema(connection, "type = 'table'"):
                file.write(sql + b";\n")
            rows = {name: _write_rows(connection, name, file) for name in tables}
            for sql in _list_schema(connection, "type != 'table'"):
                file.write(sql + b";\n")
            schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
            file.write(b"PRAGMA user_version=%d;\nCOMMIT;\n" % schema)
    finally:
        connection.text_factory = before
    return rows


def load_dump(source: Path, target: Path) -> None:
    """Write the database in the SQL text `source` to the new file `target`; durable.

    Raises sqlite3.Error or ValueError when it is not such a text.
    """
    statement = b""
    with (
        closing(sqlite3.connect(target, isolation_level=None, cached_statements=0)) as connection,
        source.open("rb") as lines,
    ):
        connection.execute("PRAGMA synchronous = OFF")  # synced once, below
        connection.execute("PRAGMA journal_mode = MEMORY")
        for line in lines:
            statement += line
            if line.endswith(b";\n") and sqlite3.complete_statement(text := statement.decode()):
                connection.execute(text)
                statement = b""
        if statement or connection.in_transaction:
            raise ValueError("the SQL text is cut short")
    sync_file(target)


def hash_dump(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _list_schema(connection: sqlite3.Connection, where: str) -> list[bytes]:
    rows = connection.execute(
        f"SELECT sql FROM sqlite_schema WHERE {where} AND sql IS NOT NULL "  # noqa: S608 - ours
        "AND tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        "AND tbl_name NOT LIKE '\\_litestream\\_%' ESCAPE '\\' ORDER BY rowid"
    )
    return [bytes(row[0]) for row in rows]


def _write_rows(connection: sqlite3.Connection, name: str, file: IO[bytes]) -> int:
    """Write an INSERT for each row of a table, and return their number."""
    table = integrity.quote_name(name)
    columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
    names = [integrity.quote_name(bytes(column[1]).decode()) for column in columns]
    keys = [
        key for _, key in sorted((c[5], n) for c, n in zip(columns, names, strict=True) if c[5])
    ]
    time = [name for name in names if name == '"created_at"']
    order = ", ".join(time + keys) if keys else "rowid"  # which is time order too
    literals = ", ".join(_LITERAL.format(column) for column in names)
    sql = f"SELECT {literals} FROM {table} ORDER BY {order}"  # noqa: S608 - the database's own
    start, count = b"INSERT INTO %s VALUES(" % table.encode(), 0
    cursor = connection.execute(sql)
    while chunk := cursor.fetchmany(_CHUNK_ROWS):
        count += len(chunk)
        file.writelines(start + _join_literals(row) + b");\n" for row in chunk)
    return count


def _join_literals(row: tuple[bytes, ...]) -> bytes:
    line = b",".join(row)
    try:
        line.decode()
    except UnicodeDecodeError:
        return b",".join(map(_escape_literal, row))
    return line


def _escape_literal(literal: bytes) -> bytes:
    try:
        literal.decode()
    except UnicodeDecodeError:
        text = literal[1:-1].replace(b"''", b"'")
        return b"CAST(X'" + text.hex().encode() + b"' AS TEXT)"
    return literal
