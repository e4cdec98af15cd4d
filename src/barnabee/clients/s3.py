"""Objects of a few hundred bytes in the replica's bucket.

No request is retried: the lease relies on that for its writes (standby/lease.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import S3Store

from barnabee.core.errors import DependencyDown

if TYPE_CHECKING:
    from obstore.store import S3Credential

OBJECT_MAX_BYTES = 64 * 1024
_REASON_CHARS = 200


class S3Bucket:
    """One bucket of an S3 server with path-style URLs."""

    def __init__(
        self, endpoint: str, region: str, name: str, keys: tuple[str, str], *, limit_s: float
    ) -> None:
        """`keys` are id and secret; `limit_s` limits each request."""
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

    async def get(self, key: str) -> bytes | None:
        """Return an object's content, or None when it does not exist."""
        with _translated_errors():
            try:
                found = await self._store.get_async(key)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None
            if found.meta["size"] > OBJECT_MAX_BYTES:
                reason = f"{key} has {found.meta['size']} bytes"
                raise DependencyDown(dependency="replica", reason=reason)
            return bytes(await found.bytes_async())

    async def put(self, key: str, content: bytes) -> None:
        """Write an object; it is stored when this returns."""
        with _translated_errors():
            await self._store.put_async(key, content)


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        reason = _describe_error(str(error))
        raise DependencyDown(dependency="replica", reason=reason) from error


def _describe_error(text: str) -> str:
    """Return status, code and sentence of the server's answer, or the innermost cause. Pure.

    `text` is that of an error of obstore: a summary, and the nested causes in Rust's notation.
    """
    summary, _, causes = text.partition("\n\nDebug source:\n")
    if answer := re.search(r"(status) code: (.*)", summary, re.DOTALL):
        words = re.sub(r"<[^>]*>", " ", " ".join(answer.groups())).split()
        return " ".join(words)[:_REASON_CHARS]
    cause = causes.rstrip(" \n,)}").rpartition("\n")[2].strip()
    return summary.rpartition(": ")[2] + ": " + re.sub(r'^\w+: |"', "", cause)
