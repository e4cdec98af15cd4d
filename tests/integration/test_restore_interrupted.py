"""A download that is cut off resumes where it was."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from barnabee.backup import consistent_copy, restore, restore_sources
from barnabee.backup.snapshots import ignore_progress
from barnabee.store import db
from support.backup import read_live_content
from support.replica import ReplicatedDeployment, make_replicated_deployment
from support.wait import find_free_port

ROWS, ROW_BYTES = 24, 1_000_000
CUT_AFTER_BYTES = 16_000_000


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicatedDeployment]:
    with make_replicated_deployment(tmp_path, monkeypatch) as deployment:
        yield deployment


@dataclass
class CuttingProxy:
    """Forwards connections, counts what is downloaded, and cuts one connection off."""

    target_port: int
    downloaded_bytes: int = 0
    cuts: int = 0

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection("127.0.0.1", self.target_port)
        sending = asyncio.create_task(self._send(reader, upstream[1]))
        with contextlib.suppress(OSError):
            while chunk := await upstream[0].read(65536):
                self.downloaded_bytes += len(chunk)
                if not self.cuts and self.downloaded_bytes > CUT_AFTER_BYTES:
                    self.cuts += 1
                    writer.transport.abort()
                    break
                writer.write(chunk)
                await writer.drain()
        sending.cancel()
        for end in (writer, upstream[1]):
            end.close()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()


@contextlib.asynccontextmanager
async def run_proxy(target_port: int) -> AsyncIterator[tuple[CuttingProxy, int]]:
    proxy, port = CuttingProxy(target_port), find_free_port()
    async with await asyncio.start_server(proxy.forward, "127.0.0.1", port):
        yield proxy, port


async def test_a_download_resumes_after_its_connection_was_cut(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    db.prepare_database(deployment.path)
    with closing(consistent_copy.connect_live(deployment.path, "rw")) as connection:
        for number in range(ROWS):
            text = os.urandom(ROW_BYTES // 2).hex()
            row = (f"{number:032x}", "s", None, "say", text, "chat", "[]", "[]", "{}", "2026-01-01")
            connection.execute("INSERT INTO turns VALUES (?,?,?,?,?,?,?,?,?,?)", row)
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    deployment.stop_litestream()
    async with run_proxy(deployment.s3.port) as (proxy, port):
        settings = deployment.settings.model_copy(
            update={"replica_endpoint": f"http://127.0.0.1:{port}"}
        )
        source = await restore_sources.find_replica_source(deployment.system, settings)
        stored = sum(file.size_bytes for file in source.plan)
        assert stored > CUT_AFTER_BYTES
        await restore.restore_to_file(tmp_path / "copy.db", source, ignore_progress)
    assert proxy.cuts == 1
    assert read_live_content(tmp_path / "copy.db") == read_live_content(deployment.path)
    print(f"\n{stored / 1e6:.1f} MB stored, {proxy.downloaded_bytes / 1e6:.1f} MB downloaded")
    assert proxy.downloaded_bytes < stored + CUT_AFTER_BYTES / 2
