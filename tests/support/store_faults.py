"""Faults of the object store, and what each operation does during and after them.

A cell is one operation under one fault: the fault lasts until the operation has reported it or
succeeded in spite of it, then ends, and every replicated row must be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from barnabee.backup import replica, store_probe
from barnabee.core.errors import BackupDamaged, BarnabeeError, StoreFailed
from barnabee.core.settings import Settings
from support.backup import read_live_content
from support.replica import ReplicatedDeployment, make_replicated_deployment, record_turns
from support.s3_proxy import Mode, S3Proxy

ROOT = Path(__file__).resolve().parents[2]
ROWS = 40
DOCUMENT = ROOT / "docs/reference/backup.md"
BEGIN, END = "<!-- fault matrix: begin -->\n", "<!-- fault matrix: end -->\n"


@dataclass(frozen=True)
class Fault:
    """One fault; `hide` are the keys that a store denies, `endpoint` replaces the proxy's."""

    name: str
    mode: Mode = "pass"
    hide: str = ""
    certificate: str = ""
    endpoint: str = ""


FAULTS: tuple[Fault, ...] = (
    Fault("connections are closed", "refuse"),
    Fault("connections are reset", "reset"),
    Fault("no answer", "silent"),
    Fault("answers after 0.5 s", "slow"),
    Fault("not started yet", "starting"),
    Fault("500", "error"),
    Fault("500 for 30 % of the requests", "flaky"),
    Fault("503 SlowDown", "busy"),
    Fault("429", "throttled"),
    Fault("507, its disk is full", "full"),
    Fault("403, the key is revoked", "revoked"),
    Fault("403, revoked during an upload", "revoked_midway"),
    Fault("403 for reads, lists work", "capped"),
    Fault("403, the clocks differ by an hour", "skewed"),
    Fault("404, no bucket", "no_bucket"),
    Fault("404 for listed files", "hidden", hide=r"\.ltx|/data/"),
    Fault("an old list", "stale_list", hide=r"-0{15}[3-9a-f]\.ltx|/snapshots/"),
    Fault("old objects after an overwrite", "stale_object"),
    Fault("bodies cut in half", "truncated"),
    Fault("flipped bits", "flipped"),
    Fault("expired certificate", certificate="expired"),
    Fault("unknown certificate", certificate="unknown"),
    Fault("no DNS", endpoint="http://backup.invalid:9000"),
)


def make_certificates(folder: Path) -> Mapping[str, ssl.SSLContext]:
    """Return the contexts of a server with an expired certificate and with one of no known CA."""
    key, request, extension = folder / "key.pem", folder / "request.pem", folder / "san"
    extension.write_text("subjectAltName=DNS:localhost\n")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    _openssl("req", *new_key, "-subj", "/CN=localhost", "-keyout", key, "-out", request)
    contexts = {}
    for name, days in (("expired", "0"), ("unknown", "1")):
        certificate = folder / f"{name}.pem"
        signed = ("-signkey", key, "-days", days, "-extfile", extension, "-out", certificate)
        _openssl("x509", "-req", "-in", request, *signed)
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[name].load_cert_chain(certificate, key)
    return contexts


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@contextlib.contextmanager
def faulty_store(
    fault: Fault, target_port: int, certificates: Mapping[str, ssl.SSLContext]
) -> Iterator[FaultyStore]:
    """Yield the store with the fault not yet begun."""
    healthy = S3Proxy(target_port, hide=fault.hide)
    broken = S3Proxy(target_port, tls=certificates.get(fault.certificate))
    healthy.start()
    broken.start()
    try:
        yield FaultyStore(fault, healthy, broken)
    finally:
        healthy.mode = "pass"
        healthy.stop()
        broken.stop()


@dataclass
class FaultyStore:
    """A store whose fault begins and ends on request."""

    fault: Fault
    proxy: S3Proxy
    _broken: S3Proxy

    @property
    def is_elsewhere(self) -> bool:
        """Whether the fault is in the way to the store: its clients need another endpoint."""
        return bool(self.fault.endpoint or self.fault.certificate)

    @property
    def faulty_url(self) -> str:
        if self.fault.certificate:
            return self._broken.url
        return self.fault.endpoint or self.proxy.url

    def begin(self) -> None:
        self.proxy.mode = self.fault.mode

    def end(self) -> None:
        self.proxy.mode = "pass"


@contextlib.asynccontextmanager
async def replicate_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ReplicatedDeployment]:
    """Yield a deployment whose `ROWS` turns are replicated; litestream has ended."""
    monkeypatch.setattr(replica, "REQUEST_LIMIT_S", 3.0)
    with make_replicated_deployment(folder, monkeypatch) as deployment:
        deployment.start_litestream()
        for begin in range(0, ROWS, 10):
            await record_turns(deployment, range(begin, begin + 10))
            await deployment.wait_until_replicated()
        deployment.stop_litestream()
        await asyncio.to_thread(store_probe.probe_store, deployment.system, deployment.settings)
        yield deployment


def count_rows(path: Path) -> int:
    return read_live_content(path).tables["turns"].rows


def move_to(settings: Settings, folder: Path, url: str) -> Settings:
    """Return the settings of another machine with an empty disk and this store."""
    folder.mkdir(exist_ok=True)
    changes = {
        "database_path": folder / "barnabee.db",
        "data_dir": folder,
        "replica_endpoint": url,
        "litestream_socket": "",
    }
    return settings.model_copy(update=changes)


@dataclass(frozen=True)
class Cell:
    """What was seen: the code of the error, if there was one, and how long it took."""

    code: str
    seconds: float = 0.0
    lost_rows: int = 0

    def format(self) -> str:
        took = f" ({self.seconds:.0f} s)" if self.seconds >= 1 else ""
        lost = f", **{self.lost_rows} rows lost**" if self.lost_rows else ""
        return f"{self.code}{took}{lost}"


@dataclass
class Matrix:
    """Cells by fault and operation."""

    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)

    def record(self, fault: Fault, operation: str, cell: Cell) -> None:
        self.cells.setdefault(operation, {})[fault.name] = cell
        print(f"{operation:12} {fault.name:35} {cell.format()}")

    def render(self) -> str:
        names = list(self.cells)
        lines = [f"| fault | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for fault in FAULTS:
            row = [self.cells[name].get(fault.name) for name in names]
            if any(row):
                texts = (cell.format() if cell else "" for cell in row)
                lines.append(f"| {fault.name} | {' | '.join(texts)} |")
        return "\n".join(lines) + "\n"

    def write(self) -> None:
        """Replace the matrix in the reference."""
        before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        text = f"{before}{BEGIN}{self.render()}{END}{after}"
        DOCUMENT.write_text(text, encoding="utf-8")


async def attempt(work: Callable[[], Awaitable[object]]) -> Cell:
    """Await what `work` returns; the cell has the code of its error, or that of its cause."""
    begin_s = time.monotonic()
    try:
        await work()
    except BarnabeeError as error:
        return Cell(find_code(error), time.monotonic() - begin_s)
    return Cell("works", time.monotonic() - begin_s)


def find_code(error: BaseException) -> str:
    """Return the code of the StoreFailed that caused an error, else that of the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StoreFailed):
            return cause.fault
        cause = cause.__cause__
    return error.code if isinstance(error, BarnabeeError) else type(error).__name__


def lose(cell: Cell, rows: int) -> Cell:
    return replace(cell, lost_rows=rows)


def require_no_damage(cell: Cell, fault: Fault) -> None:
    assert cell.code not in {"damaged", BackupDamaged.code}, (fault, cell)


async def run_concurrently(works: list[Callable[[], Awaitable[object]]], limit: int = 5) -> None:
    """Await all, at most `limit` at once; raises the first failure at the end."""
    gate = asyncio.Semaphore(limit)

    async def run(work: Callable[[], Awaitable[object]]) -> None:
        async with gate:
            await work()

    results = await asyncio.gather(*map(run, works), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


MATRIX = Matrix()
