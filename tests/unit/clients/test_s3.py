"""Messages of litestream 0.5.17, obstore 0.12, restic 0.14 and rclone 1.75, as they were seen."""

from __future__ import annotations

import random

import pytest

from barnabee.clients.s3 import classify_store_error
from barnabee.core.errors import StoreFault

AWS = "operation error S3: ListObjectsV2, https response error StatusCode: {}, RequestID: , "
DECODE = "Error: decode database: decode page 27: read page header 0: "
MESSAGES: dict[str, StoreFault] = {
    "error sending request: Connection refused": "unreachable",
    "error sending request: IncompleteMessage": "unreachable",
    "error sending request: failed to lookup address information: Name or service not known": (
        "unreachable"
    ),
    "error sending request: certificate: ExpiredContext": "unreachable",
    "request or response body error: IncompleteBody": "unreachable",
    "no answer within 15 s": "unreachable",
    "no progress for 60 s after 0 bytes": "unreachable",
    f"{DECODE}read compressed data: max retries exceeded reading ltx file (level=9, "
    "min=0000000000000001, max=0000000000000001, offset=14151): unexpected EOF": "unreachable",
    f"{DECODE}read compressed data: read tcp 127.0.0.1:9000: connection reset by peer": (
        "unreachable"
    ),
    "status 500 Internal Server Error: InternalError injected": "unreachable",
    "something that no version has said before": "unreachable",
    "": "unreachable",
    "status 503 Service Unavailable: SlowDown Wait": "throttled",
    AWS.format(429) + "api error TooManyRequests: injected": "throttled",
    AWS.format(403) + "api error InvalidAccessKeyId: injected": "refused",
    "status 403 Forbidden: RequestTimeTooSkewed Check the clock": "refused",
    "s3: put object 0009/1-3.ltx: operation error S3: PutObject, https response error "
    "StatusCode: 507, RequestID: , HostID: , api error Full: injected": "refused",
    "status 401 Unauthorized": "refused",
    "status 301 Moved Permanently": "refused",
    "status 502 Bad Gateway": "unreachable",
    AWS.format(404) + "NoSuchBucket: injected": "missing",
    "Error: decode database: decode header: decode header for input 0: reopen ltx file at offset 0"
    ": file does not exist": "missing",
    "Error: decode database: unexpected error decoding after end of database: close reader 0: "
    "file checksum mismatch": "damaged",
    f"{DECODE}decompress block: lz4: invalid source or destination buffer too short": "damaged",
    "Error: decode database: decode header: decode header for input 0: invalid flags: 0x000000fd": (
        "damaged"
    ),
    "Error: invalid ltx file: level=9 min=0000000000000001 max=0000000000000001 has size 0 bytes "
    "(minimum 100)": "damaged",
    "Error: no matching backup files available": "damaged",
}


@pytest.mark.parametrize(("text", "fault"), MESSAGES.items())
def test_each_known_message_has_its_fault(text: str, fault: StoreFault) -> None:
    assert classify_store_error(text) == fault


def test_a_transfer_error_inside_a_decoder_message_is_no_damage() -> None:
    """Litestream's decoder wraps whatever its reader reports."""
    chance = random.Random(19)  # noqa: S311 - the same in each run
    transient = [text for text, fault in MESSAGES.items() if fault != "damaged" and text]
    wrappers = [
        "{}",
        DECODE + "decompress block: lz4: invalid source: {}",
        "Error: decode database: decode header: checksum: {}",
        "Error: no matching backup files available: {}",
    ]
    known = [text for text in transient if text != "something that no version has said before"]
    for _ in range(1000):
        text = chance.choice(wrappers).format(chance.choice(known))
        assert classify_store_error(text) != "damaged", text
