"""Bearer tokens by scope: made from the admin token, published as hashes, replaced while in use.

The services' own tokens are HMACs of the admin token, so that machines which share it agree without
further secrets. Services that check tokens get `tokens.json`, which has only hashes; they and the
holders of a token notice a replaced file. Imports no third-party package: a NixOS host without
services of ours runs it as `python3 -m barnabee.core.tokens`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from barnabee.core.errors import BadRequest, NotFound
from barnabee.core.files import WatchedFile, lock_file, write_atomically

TOKENS_FILE = "tokens.json"
OVERLAP_S = 2  # the old token of a rotation is accepted for this long
MAX_NAMED = 64
_LOCK_FILE = ".tokens.lock"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


class Scope(StrEnum):
    """What a token may do; `admin` includes the others."""

    TALK = "talk"
    INFER = "infer"
    METRICS = "metrics"
    ADMIN = "admin"

    def allows(self, required: Scope) -> bool:
        return self in {required, Scope.ADMIN}

    @property
    def credential(self) -> str:
        """Name of the secret file with the services' own token of this scope."""
        return "api_token" if self == Scope.ADMIN else f"{self}_token"


DERIVED = (Scope.TALK, Scope.INFER, Scope.METRICS)


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """A token that is accepted; `name` is the scope for the services' own."""

    name: str
    scope: Scope
    sha256: str
    created_s: int = 0
    until_s: float | None = None

    @property
    def is_named(self) -> bool:
        """Whether it was added for one client, such as a satellite."""
        return self.name not in set(Scope)

    def is_valid(self, now_s: float) -> bool:
        return self.until_s is None or now_s < self.until_s


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def make_entry(scope: Scope, token: str) -> TokenEntry:
    """Return the entry of one of the services' own tokens."""
    return TokenEntry(scope, scope, hash_token(token))


def derive_token(admin_token: str, scope: Scope, generation: int) -> str:
    """Return the services' own token of `scope`; every generation has another. Pure."""
    message = f"barnabee token {scope} {generation}".encode()
    digest = hmac.new(admin_token.encode(), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class TokenTable:
    """The accepted tokens: those of a `tokens.json`, or `fixed` ones where there is none."""

    def __init__(self, file: Path | None = None, fixed: Iterable[TokenEntry] = ()) -> None:
        self._file = WatchedFile(file) if file else None
        self._fixed = tuple(fixed)
        self._text: str | None = None
        self._entries = {entry.sha256: entry for entry in self._fixed}

    def find(self, token: str, now_s: float) -> TokenEntry | None:
        """Return the entry of a valid token."""
        entry = self._read().get(hash_token(token)) if token else None
        return entry if entry is not None and entry.is_valid(now_s) else None

    def has_name(self, name: str) -> bool:
        """Return whether a token of this name is accepted."""
        return any(entry.name == name for entry in self._read().values())

    def _read(self) -> Mapping[str, TokenEntry]:
        text = self._file.read() if self._file else None
        if text is not None and text is not self._text:
            self._text = text
            # With damaged content every token is refused.
            self._entries = {entry.sha256: entry for entry in parse_entries(text)}
        return self._entries


def parse_entries(text: str) -> list[TokenEntry]:
    """Return the entries of a `tokens.json`, none if it is damaged. Pure."""
    try:
        return [
            TokenEntry(**{**row, "scope": Scope(row["scope"])})
            for row in json.loads(text)["tokens"]
        ]
    except (ValueError, KeyError, TypeError):
        return []


class TokenStore:
    """The tokens of one installation, in the directory of its secrets.

    `copies` has a directory for each service. Files in them are replaced when they change; those
    that are absent are not created.
    """

    def __init__(
        self,
        directory: Path,
        admin_token: str,
        copies: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory, self._admin_token = directory, admin_token
        self._copies, self._clock = copies, clock

    def refresh(self) -> None:
        """Write the files of all tokens; those of another admin token expire."""
        with lock_tokens(self._directory):
            self._write(self._read_named(), self._read_generations())

    def list_entries(self) -> list[TokenEntry]:
        """Return the current tokens, the services' own first."""
        entries = [entry for entry in self._read_entries() if entry.until_s is None]
        # Of the services' own tokens of a scope the current one comes before the next.
        current = {entry.name: entry for entry in reversed(entries)}
        return sorted(current.values(), key=lambda entry: (entry.is_named, entry.name))

    def add(self, name: str, scope: Scope) -> str:
        """Return a new token called `name`; BadRequest when the name is invalid or taken."""
        with lock_tokens(self._directory):
            named = self._read_named()
            if not _NAME.fullmatch(name) or name in set(Scope):
                reason = "use up to 40 of a-z, 0-9 and -, beginning with a letter, and no scope"
                raise BadRequest(field="name", reason=reason)
            if any(entry.name == name for entry in named):
                reason = f"there is a token {name!r}; revoke it first, or choose another name"
                raise BadRequest(field="name", reason=reason)
            if len(named) >= MAX_NAMED:
                reason = f"there are {MAX_NAMED} tokens; revoke one first"
                raise BadRequest(field="name", reason=reason)
            token = secrets.token_urlsafe(32)
            entry = TokenEntry(name, scope, hash_token(token), int(self._clock()))
            self._write([*named, entry], self._read_generations())
            return token

    def revoke(self, name: str) -> None:
        """Refuse the token called `name` from now on; NotFound when there is none."""
        with lock_tokens(self._directory):
            named = self._read_named()
            left = [entry for entry in named if entry.name != name]
            if len(left) == len(named):
                known = ", ".join(sorted(entry.name for entry in named)) or "none"
                raise NotFound(what=f"token {name!r}; known are: {known}")
            self._write(left, self._read_generations())

    def rotate(self, scope: Scope) -> None:
        """Replace the services' own token of `scope`.

        With the admin token all others are replaced too, and login links and cookies end.
        """
        with lock_tokens(self._directory):
            generations = self._read_generations()
            if scope == Scope.ADMIN:
                self._admin_token = secrets.token_urlsafe(32)
                self._replace(scope.credential, self._admin_token, mode=0o600)
            else:
                generations[scope] += 1
            self._write(self._read_named(), generations)

    def _write(self, named: list[TokenEntry], generations: dict[Scope, int]) -> None:
        now_s = self._clock()
        own = self._make_own(generations, int(now_s))
        hashes = {entry.sha256 for entry in own}
        expiring = [
            replace(entry, until_s=entry.until_s or now_s + OVERLAP_S)
            for entry in self._read_entries()
            if not entry.is_named and entry.sha256 not in hashes and entry.is_valid(now_s)
        ]
        rows = [asdict(entry) for entry in (*own, *expiring, *named)]
        content = {"generations": generations, "tokens": rows}
        # The hashes first: a holder must not send a token that is not accepted yet.
        self._replace(TOKENS_FILE, json.dumps(content, indent=1), mode=0o600)
        for scope in DERIVED:
            token = derive_token(self._admin_token, scope, generations[scope])
            self._replace(scope.credential, token, mode=0o600)
        self._replace(Scope.ADMIN.credential, self._admin_token, mode=0o600, only_copies=True)

    def _make_own(self, generations: Mapping[Scope, int], now_s: int) -> list[TokenEntry]:
        """Return the services' own tokens, each also of the next generation.

        Another machine that shares the admin token may be rotated before this one.
        """
        known = {entry.sha256: entry.created_s for entry in self._read_entries()}
        own = [(Scope.ADMIN, self._admin_token)]
        own += [
            (scope, derive_token(self._admin_token, scope, generations[scope] + ahead))
            for scope in DERIVED
            for ahead in (0, 1)
        ]
        pairs = [(scope, hash_token(token)) for scope, token in own]
        return [TokenEntry(scope, scope, sha, known.get(sha, now_s)) for scope, sha in pairs]

    def _replace(self, name: str, text: str, *, mode: int, only_copies: bool = False) -> None:
        if not only_copies:
            _write_if_changed(self._directory / name, text, mode)
        for copy in sorted(self._copies.glob(f"*/{name}")) if self._copies else ():
            _write_if_changed(copy, text, (mode & 0o444) | 0o440)

    def _read_text(self) -> str:
        try:
            return (self._directory / TOKENS_FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def _read_entries(self) -> list[TokenEntry]:
        return parse_entries(self._read_text())

    def _read_named(self) -> list[TokenEntry]:
        return [entry for entry in self._read_entries() if entry.is_named]

    def _read_generations(self) -> dict[Scope, int]:
        try:
            given = json.loads(self._read_text())["generations"]
            return {scope: int(given[scope]) for scope in DERIVED}
        except (ValueError, KeyError, TypeError):
            return dict.fromkeys(DERIVED, 1)


@contextmanager
def lock_tokens(directory: Path) -> Iterator[None]:
    """Hold the lock under which the token files in `directory` are written and copied."""
    with lock_file(directory / _LOCK_FILE, mode=0o600):
        yield


def _write_if_changed(path: Path, text: str, mode: int) -> None:
    """Write a file for the owner and the group of its directory."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except FileNotFoundError:
        pass
    owner = path.parent.stat()
    write_atomically(path, text, mode=mode, owner=(owner.st_uid, owner.st_gid), durable=True)


def main(arguments: list[str] | None = None) -> None:
    """Write or rotate the tokens of a NixOS host; nixos/modules/tokens.nix has the options."""
    parser = argparse.ArgumentParser(prog="barnabee-tokens")
    parser.add_argument("--admin-token-file", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--copies", type=Path, required=True)
    parser.add_argument("--create", nargs="*", default=[], help="copies to create: SERVICE/FILE")
    parser.add_argument("--rotate", choices=[str(scope) for scope in DERIVED])
    options = parser.parse_args(arguments)
    admin_token = options.admin_token_file.read_text(encoding="utf-8").strip()
    for name in options.create:
        (options.copies / name).parent.mkdir(parents=True, exist_ok=True)
        (options.copies / name).touch(mode=0o400)
    store = TokenStore(options.directory, admin_token, options.copies)
    if options.rotate:
        store.rotate(Scope(options.rotate))
    else:
        store.refresh()


if __name__ == "__main__":
    main()
