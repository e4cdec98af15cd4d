"""Objects in the replica's bucket, and the kinds of failure of a store.

No request is retried: the lease relies on that for its writes (standby/lease.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from barnabee.core.errors import DependencyDown, StoreFailed, StoreFault

if TYPE_CHECKING:
    from obstore.store import S3Credential

OBJECT_MAX_BYTES = 64 * 1024
_REASON_CHARS = 200
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')  # the ETag of an object that was stored in one part


@dataclass(frozen=True)
class StoredObject:
    """One object, as the store lists it."""

    key: str
    size_bytes: int
    changed_at: datetime


class S3Bucket:
    """One bucket of an S3 server with path-style URLs."""

    def __init__(
        self, endpoint: str, region: str, name: str, keys: tuple[str, str], *, limit_s: float
    ) -> None:
        """`keys` are id and secret; `limit_s` limits each request."""
        from obstore.store import S3Store  # noqa: PLC0415 - 10 MiB that few processes need

        id_, secret = keys
        key: S3Credential = {"access_key_id": id_, "secret_access_key": secret, "expires_at": None}
        # S3Store reads AWS_ variables: each that would lead elsewhere is overridden here.
        self._store = S3Store(
            name,
            aws_endpoint_url_s3=endpoint,
            region=region,
            virtual_hosted_style_request=False,
            skip_signature=False,
            credential_provider=lambda: key,
            # No keep-alive: a request on a connection that the server has closed needs a retry.
            client_options={
                "allow_http": True,
                "timeout": timedelta(seconds=limit_s),
                "pool_max_idle_per_host": "0",
            },
            retry_config={"max_retries": 0},
        )

    async def get(self, key: str, *, max_bytes: int = OBJECT_MAX_BYTES) -> bytes | None:
        """Return an object's content, or None when it does not exist."""
        with _translated_errors():
            try:
                found = await self._store.get_async(key)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None
            if found.meta["size"] > max_bytes:
                reason = f"{key} has {found.meta['size']} bytes"
                raise DependencyDown(dependency="replica", reason=reason)
            content = bytes(await found.bytes_async())
            _require_digest(key, found.meta["e_tag"], hashlib.md5(content, usedforsecurity=False))
            return content

    async def put(self, key: str, content: bytes) -> None:
        """Write an object; it is stored when this returns."""
        with _translated_errors():
            await self._store.put_async(key, content)

    async def exists(self, key: str) -> bool:
        """Return whether there is an object, without its list."""
        with _translated_errors():
            try:
                await self._store.head_async(key)
            except FileNotFoundError:
                return False
            return True

    async def list_objects(self, prefix: str) -> list[StoredObject]:
        """Return the objects below `prefix`."""
        with _translated_errors():
            found = await self._store.list_async(prefix).collect_async()
        return [StoredObject(each["path"], each["size"], each["last_modified"]) for each in found]

    async def download(self, key: str, target: Path) -> None:
        """Write an object of any size to a file; StoreFailed unless it is complete."""
        with _translated_errors(), target.open("wb") as file:
            found = await self._store.get_async(key)
            digest = hashlib.md5(usedforsecurity=False)
            async for chunk in found.stream():
                digest.update(chunk)
                file.write(chunk)
            _require_digest(key, found.meta["e_tag"], digest)


def _require_digest(key: str, e_tag: str | None, digest: hashlib._Hash) -> None:
    """Raise StoreFailed when the content is not the one that was stored, where that is known."""
    stored = _MD5.fullmatch(e_tag or "")
    if stored and stored[1] != digest.hexdigest():
        raise StoreFailed("unreachable", f"{key} was changed in transit")


@contextmanager
def _translated_errors() -> Iterator[None]:
    from obstore.exceptions import BaseError  # noqa: PLC0415 - see S3Bucket

    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        reason = _describe_error(str(error))
        # What reads no page cannot tell that one is damaged.
        failure = classify_store_error(reason)
        raise StoreFailed("unreachable" if failure == "damaged" else failure, reason) from error


def _describe_error(text: str) -> str:
    """Return status, code and sentence of the server's answer, or the innermost cause. Pure.

    `text` is that of an error of obstore: a summary, and the nested causes in Rust's notation.
    """
    summary, _, causes = text.partition("\n\nDebug source:\n")
    if answer := re.search(r"(status) code: (.*)", summary, re.DOTALL):
        words = re.sub(r"<[^>]*>", " ", " ".join(answer.groups())).split()
        return " ".join(words)[:_REASON_CHARS]
    if certificate := re.search(r"InvalidCertificate\(\s*(\w+)", causes):
        return f"{summary.rpartition(': ')[2]}: certificate: {certificate[1]}"
    cause = causes.rstrip(" \n,)}").rpartition("\n")[2].strip()
    return summary.rpartition(": ")[2] + ": " + re.sub(r'^\w+: |"', "", cause)


# --- Classification of errors ---------------------------------------------------------------------
# Only a message of litestream's decoder, of its check of a restored database, or of a list with
# gaps counts as damage; whatever is unknown is `unreachable`, so that no copy is given up for it.

_THROTTLED: Final = {429, 503}
_MISSING: Final = 404
_SERVER_ERRORS: Final = 500
_FULL: Final = 507
_CODES: Final[dict[str, StoreFault]] = {
    **dict.fromkeys(
        ("SlowDown", "TooManyRequests", "ServiceUnavailable", "RequestLimitExceeded"), "throttled"
    ),
    **dict.fromkeys(
        (
            *("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"),
            *("RequestTimeTooSkewed", "InsufficientStorage", "QuotaExceeded"),
        ),
        "refused",
    ),
    **dict.fromkeys(("NoSuchBucket", "NoSuchKey", "NotFound"), "missing"),
    **dict.fromkeys(("InternalError", "RequestTimeout"), "unreachable"),
}
# litestream and rclone (AWS SDK for Go), obstore, restic with rclone.
_STATUS = re.compile(r"(?:StatusCode: |status code: |status |HTTP response \(|HTTP )(\d{3})\b")
_CODE = re.compile(r"\b(?:" + "|".join(_CODES) + r")\b")
# Of a transfer that broke off, or of a connection that was never there.
_TRANSPORT = re.compile(
    r"unexpected EOF|connection reset|broken pipe|connection refused|no such host|i/o timeout"
    r"|deadline exceeded|no answer within|no progress|tls:|x509:|certificate|IncompleteBody"
    r"|error sending request|in transit|sizes differ|hashes differ|EOF$",
    re.IGNORECASE | re.MULTILINE,
)
_ABSENT = re.compile(r"file does not exist")  # a file that litestream had listed
# Not "decode …" alone: litestream says so for a transfer that broke off, too.
_DAMAGE = re.compile(
    r"lz4: |checksum|invalid|malformed|no matching backup files|non-?contiguous|integrity check"
    r"|ciphertext verification",
    re.IGNORECASE,
)


def classify_store_error(text: str) -> StoreFault:
    """Return what kind of failure `text` reports: by S3's code, the status, or the words. Pure."""
    if code := _CODE.search(text):
        return _CODES[code[0]]
    if status := _STATUS.search(text):
        return _classify_status(int(status[1]))
    if _TRANSPORT.search(text):
        return "unreachable"
    if _ABSENT.search(text):
        return "missing"
    return "damaged" if _DAMAGE.search(text) else "unreachable"


def _classify_status(status: int) -> StoreFault:
    if status in _THROTTLED:
        return "throttled"
    if status == _MISSING:
        return "missing"
    return "unreachable" if status >= _SERVER_ERRORS and status != _FULL else "refused"
