from __future__ import annotations

from datetime import datetime

import pytest

from barnabee.backup import replica as replica_module
from barnabee.backup.replica import LtxFile
from barnabee.core.errors import BadRequest


def ltx_file(level: int, first: int, last: int) -> LtxFile:
    return LtxFile(level, first, last, 100, "2026-01-31T12:00:00Z")


def test_the_ends_of_consecutive_files_can_be_restored() -> None:
    files = [
        ltx_file(9, 1, 10),
        ltx_file(1, 11, 20),
        ltx_file(1, 21, 25),
        ltx_file(0, 26, 26),
        ltx_file(0, 28, 28),
    ]

    assert replica_module.list_restorable_txids(files) == [10, 20, 25, 26]
    replica_module.require_restorable(25, files)
    with pytest.raises(BadRequest, match="nearest: 20 and 25"):
        replica_module.require_restorable(23, files)
    with pytest.raises(BadRequest, match=r"nearest: 26\b"):
        replica_module.require_restorable(27, files)


def test_a_gap_is_described_with_what_can_be_restored() -> None:
    whole = [ltx_file(9, 1, 10), ltx_file(0, 11, 11)]
    assert replica_module.describe_gap([]) is None
    assert replica_module.describe_gap(whole) is None
    assert replica_module.describe_gap([*whole, ltx_file(0, 13, 13), ltx_file(0, 17, 17)]) == (
        "transaction 12 is missing; restore up to transaction 11 with `--txid 11`, "
        "or the newest snapshot with `--from snapshot`"
    )
    assert replica_module.describe_gap([ltx_file(0, 5, 9)]) == (
        "transactions 1 to 4 are missing; restore the newest snapshot with `--from snapshot`"
    )


def test_a_time_without_a_zone_is_local() -> None:
    assert replica_module.normalize_time("2026-01-31T18:00:00Z") == "2026-01-31T18:00:00+00:00"
    assert (
        datetime.fromisoformat(replica_module.normalize_time("2026-01-31 18:00")).tzinfo is not None
    )
