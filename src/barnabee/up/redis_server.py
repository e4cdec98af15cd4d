"""Start of the Redis or Valkey server: users with their passwords, repair of its files, exec.

`python -m barnabee.up.redis_server PROGRAM --port 6379 --dir DIRECTORY ...` replaces itself with
the server. The users of `USERS` whose passwords are among the credentials can log in; without
a password there is only the user `probe`, which may PING. The server gets hashes in a file, so that
no password is on a command line.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from barnabee.core.errors import BarnabeeError, SettingMissing
from barnabee.core.files import write_atomically
from barnabee.core.logging import configure_logging
from barnabee.core.schema import System
from barnabee.core.settings import read_credential, read_variable, redis_password_name
from barnabee.store import append_only_file
from barnabee.up.probe import PROBE_USER

_DATA_MAX = "512mb"
# What each user needs and nothing else; `%W~` is a pattern of keys that it may only write.
_JOBS = "~arq:* ~barnabee:set-aside"
USERS: Mapping[str, str] = {
    "api": "~barnabee:session:* %R~barnabee:heartbeat:* ~arq:queue* %W~arq:job:* "
    "%W~barnabee:login:* +ping +get +set +exists +zadd +zcard +multi +exec +select",
    # arq's commands, those of workers/, and HGETALL and HDEL for an operator's dead letters
    "worker": f"{_JOBS} ~barnabee:heartbeat:* +ping +get +mget +set +setex +psetex +exists +del "
    "+incrby +expire +pexpire +zadd +zcard +zcount +zrange +zrangebyscore +zscore +zrem "
    "+zremrangebyscore +zincrby +hset +hlen +hgetall +hdel "
    "+multi +exec +discard +watch +unwatch +info +dbsize "
    "+select",
    # the follower and the promotion, on their own machine
    "standby": f"{_JOBS} +ping +role +replicaof +zrange +mget +hgetall +select",
    # the other machine: its Redis replicates this one, and its follower hands over jobs
    "peer": f"{_JOBS} +ping +psync +replconf +set +zadd +hsetnx +multi +exec +select",
    "exporter": "+ping +info",
}
_PEER = "peer"

log = structlog.get_logger()


def make_redis_options(system: System, bind: str, directory: str) -> dict[str, str]:
    """Return the options of a Redis or Valkey server that loses no accepted job."""
    return {
        "port": str(system.port("redis")),
        "bind": bind,
        "dir": directory,
        "appendonly": "yes",
        # "everysec" holds writes back while a sync runs, and kill -9 then loses answered commands
        # (74 of 144 442 in one of 12 tries); "no" writes before it answers: 0 of 202 458
        "appendfsync": "no",
        "save": "",  # the append-only file is the only copy
        "maxmemory": _DATA_MAX,
        "maxmemory-policy": "noeviction",  # a job must never be dropped to make room
        "set-proc-title": "no",  # the title would overwrite RUN_ID_VARIABLE in the environment
    }


def make_users_file(passwords: Mapping[str, str]) -> str:
    """Return the server's ACL file: the users of `passwords`, the default user and the probes'.

    The server reads its append-only file as the default user, and drops what that may not do: it
    may do everything, with an unknown password.
    """
    unknown = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
    lines = [
        f"user default on #{unknown} ~* &* +@all",
        f"user {PROBE_USER} on nopass resetkeys resetchannels -@all +ping",
    ]
    for user, password in sorted(passwords.items()):
        digest = hashlib.sha256(password.encode()).hexdigest()
        lines.append(f"user {user} on #{digest} resetkeys resetchannels -@all {USERS[user]}")
    return "".join(f"{line}\n" for line in lines)


def write_configuration(runtime: Path, passwords: Mapping[str, str]) -> Path:
    """Write users and the password for replication below `runtime`; return the server's file."""
    users, configuration = runtime / "users.acl", runtime / "redis.conf"
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(users, make_users_file(passwords), mode=0o600)
    lines = [f'aclfile "{users}"']
    if _PEER in passwords:
        lines += [f"masteruser {_PEER}", f'masterauth "{passwords[_PEER]}"']
    write_atomically(configuration, "".join(f"{line}\n" for line in lines), mode=0o600)
    return configuration


def ensure_passwords(directory: Path, users: Iterable[str], shared: bytes | None = None) -> None:
    """Generate the passwords of `users` that are missing in `directory`.

    That of the peer is derived from `shared`, a secret of both machines.
    """
    for user in users:
        file = directory / redis_password_name(user)
        if user == _PEER:
            password = hmac.new(shared or b"", b"redis peer", hashlib.sha256).hexdigest()
        elif file.is_file() and file.stat().st_size:
            continue
        else:
            password = secrets.token_hex(32)
        write_atomically(file, password, mode=0o600, durable=True)
        if user == "exporter":  # it reads its password by the server's address
            address = urlsplit(read_variable("REDIS_URL")).netloc
            text = json.dumps({f"redis://{user}@{address}": password})
            write_atomically(directory / f"{user}.json", text, mode=0o600, durable=True)


def read_passwords() -> dict[str, str]:
    """Return the passwords among this process's credentials, by user."""
    found = {user: read_credential(redis_password_name(user)) for user in USERS}
    return {user: password for user, password in found.items() if password}


def run_server(program: str, options: list[str]) -> None:
    """Write the configuration, repair the files below the option `--dir`, and become the server."""
    configure_logging("redis")
    runtime = read_variable("RUNTIME_DIRECTORY")
    if not runtime:
        raise SettingMissing(name="RUNTIME_DIRECTORY", hint="start it from a unit that sets it")
    path = shutil.which(program)
    if path is None:
        raise SettingMissing(name=program, hint="install Redis or Valkey")
    configuration = write_configuration(Path(runtime), read_passwords())
    directory = Path(dict(zip(options[::2], options[1::2], strict=False)).get("--dir", "."))
    append_only_file.repair_directory(directory, path)
    sys.stdout.flush()
    os.execv(path, [path, str(configuration), *options])  # noqa: S606 - no shell is wanted


def main(arguments: list[str]) -> None:
    """Start the server, or generate passwords: `passwords DIRECTORY USER...`."""
    if arguments[:1] == ["passwords"]:
        shared = read_credential("b2_application_key")
        ensure_passwords(Path(arguments[1]), arguments[2:], shared.encode() if shared else None)
        return
    run_server(arguments[0], arguments[1:])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BarnabeeError as error:
        sys.stderr.write(f"barnabee: {error} [{error.code}]\n")
        sys.exit(error.exit_code)
