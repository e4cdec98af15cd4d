"""Puts a damaged replica aside, so that a new one can begin in its place.

Litestream 0.5.17 that finds its database behind the replica fetches the last transactions from
there first; when those are damaged it never gets further. Nothing is deleted: the files get
another name beside the old one.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from barnabee.backup import litestream, rclone
from barnabee.core.schema import System
from barnabee.core.settings import Settings, required_credential

LIMIT_S = 1800.0
_REMOTE = "replica"

log = structlog.get_logger()


def put_aside(system: System, settings: Settings, now: datetime) -> str:
    """Rename the replica's folder in the bucket and return its new name. Blocks.

    Raises DependencyDown; then what was moved already is under the new name.
    """
    place = system.replica
    aside = f"{place.path}.damaged-{now:%Y%m%dT%H%M%SZ}"
    told = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": litestream.endpoint(system, settings),
        "REGION": place.region,
        "ACCESS_KEY_ID": required_credential("b2_key_id"),
        "SECRET_ACCESS_KEY": required_credential("b2_application_key"),
        "FORCE_PATH_STYLE": "true",
    }
    environment = {f"RCLONE_CONFIG_{_REMOTE.upper()}_{name}": value for name, value in told.items()}
    rclone.run(
        *("move", f"{_REMOTE}:{place.bucket}/{place.path}", f"{_REMOTE}:{place.bucket}/{aside}"),
        place=litestream.replica_url(system, settings),
        limit_s=LIMIT_S,
        environment=environment,
    )
    log.warning("replica_put_aside", code="backup_damaged", bucket=place.bucket, aside=aside)
    return aside
