"""The token store: derivation, rotation, revocation, and the copies of the services."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.errors import BadRequest, NotFound
from barnabee.core.files import WatchedFile
from barnabee.core.tokens import (
    DERIVED,
    MAX_NAMED,
    OVERLAP_S,
    TOKENS_FILE,
    Scope,
    TokenStore,
    TokenTable,
    derive_token,
    parse_entries,
)
from support.clock import FakeClock

ROOT = Path(__file__).resolve().parents[3]
ADMIN = "the-admin-token"


def make_store(folder: Path, clock: FakeClock | None = None, *, admin: str = ADMIN) -> TokenStore:
    store = TokenStore(folder, admin, folder / "run", clock or FakeClock())
    store.refresh()
    return store


def find(folder: Path, token: str, now_s: float = 0) -> Scope | None:
    """Return the scope of a token for a service that reads the file now."""
    entry = TokenTable(folder / TOKENS_FILE).find(token, now_s)
    return entry.scope if entry else None


def read(folder: Path, scope: Scope) -> str:
    return (folder / scope.credential).read_text(encoding="utf-8")


def test_an_existing_admin_token_stays_valid_and_others_are_made(tmp_path: Path) -> None:
    make_store(tmp_path)
    assert find(tmp_path, ADMIN) == Scope.ADMIN
    assert [find(tmp_path, read(tmp_path, scope)) for scope in DERIVED] == list(DERIVED)
    assert find(tmp_path, "wrong") is None
    text = (tmp_path / TOKENS_FILE).read_text(encoding="utf-8")
    assert not [token for token in (ADMIN, read(tmp_path, Scope.TALK)) if token in text]


def test_machines_with_the_same_admin_token_have_the_same_tokens(tmp_path: Path) -> None:
    for name in ("core", "gpu"):
        (tmp_path / name).mkdir()
        make_store(tmp_path / name)
    assert read(tmp_path / "core", Scope.INFER) == read(tmp_path / "gpu", Scope.INFER)
    make_store(tmp_path / "core").rotate(Scope.INFER)
    # The other machine accepts the new token before it is rotated itself.
    assert find(tmp_path / "gpu", read(tmp_path / "core", Scope.INFER)) == Scope.INFER


def test_the_old_token_of_a_rotation_is_accepted_for_the_overlap(tmp_path: Path) -> None:
    clock = FakeClock()
    store = make_store(tmp_path, clock)
    old, others = read(tmp_path, Scope.TALK), read(tmp_path, Scope.INFER)
    store.rotate(Scope.TALK)
    assert read(tmp_path, Scope.TALK) != old
    assert read(tmp_path, Scope.INFER) == others
    assert find(tmp_path, old, clock() + OVERLAP_S - 0.1) == Scope.TALK
    assert find(tmp_path, old, clock() + OVERLAP_S) is None
    store.rotate(Scope.METRICS)  # another write does not prolong it
    assert find(tmp_path, old, clock() + OVERLAP_S) is None


def test_a_new_admin_token_replaces_all(tmp_path: Path) -> None:
    clock = FakeClock()
    store = make_store(tmp_path, clock)
    named = store.add("kitchen", Scope.TALK)
    old = [ADMIN, *(read(tmp_path, scope) for scope in DERIVED)]
    store.rotate(Scope.ADMIN)
    later_s = clock() + OVERLAP_S
    assert [find(tmp_path, token, later_s) for token in old] == [None] * 4
    new = (tmp_path / "api_token").read_text(encoding="utf-8")
    assert find(tmp_path, new, later_s) == Scope.ADMIN
    assert [find(tmp_path, read(tmp_path, scope), later_s) for scope in DERIVED] == list(DERIVED)
    assert find(tmp_path, named, later_s) == Scope.TALK


def test_a_named_token_is_refused_at_once_when_it_is_revoked(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    token = store.add("kitchen", Scope.TALK)
    assert find(tmp_path, token) == Scope.TALK
    make_store(tmp_path).rotate(Scope.INFER)
    assert find(tmp_path, token) == Scope.TALK
    store.revoke("kitchen")
    assert find(tmp_path, token) is None
    with pytest.raises(NotFound, match="token 'kitchen'; known are: none"):
        store.revoke("kitchen")


@pytest.mark.parametrize("name", ["", "talk", "admin", "Kitchen", "a b", "a\n", "-a", "a" * 41])
def test_an_invalid_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequest, match="name is invalid"):
        make_store(tmp_path).add(name, Scope.TALK)


def test_the_number_of_names_is_bounded(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    for number in range(MAX_NAMED):
        store.add(f"room-{number}", Scope.TALK)
    with pytest.raises(BadRequest, match=f"there are {MAX_NAMED} tokens"):
        store.add("one-more", Scope.TALK)
    with pytest.raises(BadRequest, match="there is a token 'room-0'"):
        store.add("room-0", Scope.TALK)


def test_copies_that_exist_are_replaced_and_no_others_are_made(tmp_path: Path) -> None:
    copy = tmp_path / "run" / "voice"
    copy.mkdir(parents=True)
    for name in (TOKENS_FILE, Scope.TALK.credential):
        (copy / name).touch()
    store = make_store(tmp_path)
    store.rotate(Scope.TALK)
    assert read(copy, Scope.TALK) == read(tmp_path, Scope.TALK)
    assert find(copy, read(copy, Scope.TALK)) == Scope.TALK
    assert {path.name for path in copy.iterdir()} == {TOKENS_FILE, Scope.TALK.credential}


def test_a_running_service_notices_a_replaced_file(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    table = TokenTable(tmp_path / TOKENS_FILE)
    table._file = WatchedFile(tmp_path / TOKENS_FILE, every_s=0)
    assert table.find("x", 0) is None
    token = store.add("kitchen", Scope.TALK)
    assert table.find(token, 0) is not None
    assert table.has_name("kitchen")
    store.revoke("kitchen")
    assert table.find(token, 0) is None
    (tmp_path / TOKENS_FILE).unlink()  # as while the runner stops
    assert table.find(ADMIN, 0) is not None


@given(st.text())
def test_a_damaged_file_admits_nobody(text: str) -> None:
    assert parse_entries(text) == []


@given(st.sampled_from(DERIVED), st.sampled_from(DERIVED), st.integers(0, 9), st.integers(0, 9))
def test_scopes_and_generations_have_different_tokens(
    scope: Scope, other: Scope, generation: int, later: int
) -> None:
    is_same = derive_token(ADMIN, scope, generation) == derive_token(ADMIN, other, later)
    assert is_same == ((scope, generation) == (other, later))


def test_a_host_without_our_packages_can_write_the_tokens(tmp_path: Path) -> None:
    (tmp_path / "admin").write_text(f"{ADMIN}\n", encoding="utf-8")
    command = [sys.executable, "-S", "-m", "barnabee.core.tokens"]
    command += ["--admin-token-file", str(tmp_path / "admin"), "--directory", str(tmp_path)]
    command += ["--copies", str(tmp_path / "run")]
    for options in (["--create", "prometheus/metrics_token"], ["--rotate", "metrics"]):
        subprocess.run([*command, *options], check=True, env={"PYTHONPATH": str(ROOT / "src")})
    token = read(tmp_path / "run" / "prometheus", Scope.METRICS)
    assert token == derive_token(ADMIN, Scope.METRICS, 2)
