"""What a machine does follows from the lease, and serving excludes following."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from barnabee.standby.roles import Sign, View, Wish, signs
from barnabee.standby.state_files import Notes

VIEWS = [
    View(wish, *flags) for wish in Wish for flags in itertools.product((False, True), repeat=5)
]


@pytest.mark.parametrize("view", VIEWS)
def test_nobody_serves_and_follows_or_replicates_without_the_lease(view: View) -> None:
    shown = signs(view)
    assert not {Sign.SERVE, Sign.FOLLOW} <= shown
    assert Sign.HOLD not in shown or view.holds
    assert Sign.HOLD not in shown or Sign.SERVE in shown
    assert Sign.SERVE not in shown or view.wish is Wish.HOLD
    assert Sign.ADDRESS not in shown or view.free or Sign.SERVE in shown
    # Who does not know whether another has written does not pretend that it is the stand-by.
    assert Sign.FOLLOW not in shown or view.heard


def view(wish: Wish = Wish.HOLD, **flags: bool) -> View:
    names = ("holds", "superseded", "heard", "served", "free")
    return View(wish, **{name: flags.get(name, False) for name in names})


def test_a_primary_whose_store_is_away_goes_on_answering_and_writes_nothing() -> None:
    assert signs(view(served=True)) == {Sign.SERVE, Sign.ADDRESS}


def test_a_primary_that_was_overtaken_follows_however_it_was_asked() -> None:
    assert signs(view(superseded=True, heard=True, served=True)) == {Sign.FOLLOW}


def test_a_machine_that_never_served_waits_for_the_store() -> None:
    assert signs(view()) == frozenset()


def test_the_stand_by_may_have_the_address_once_nobody_else_can_have_the_lease() -> None:
    assert signs(view(Wish.FOLLOW, heard=True)) == {Sign.FOLLOW}
    assert signs(view(Wish.FOLLOW, heard=True, free=True)) == {Sign.FOLLOW, Sign.ADDRESS}


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    for name in ("run", "lib"):
        (tmp_path / name).mkdir()
    return Notes(tmp_path / "run", tmp_path / "lib")


def test_signs_are_files_and_what_was_served_outlasts_the_keeper(notes: Notes) -> None:
    notes.show({Sign.SERVE, Sign.HOLD})
    assert notes.shown() == {Sign.SERVE, Sign.HOLD}
    assert notes.served
    notes.show({Sign.FOLLOW})
    assert notes.shown() == {Sign.FOLLOW}
    assert not notes.served


def test_a_wish_is_the_default_until_somebody_says_otherwise(notes: Notes) -> None:
    assert notes.wish(Wish.FOLLOW) is Wish.FOLLOW
    notes.set_wish(Wish.HOLD)
    assert notes.wish(Wish.FOLLOW) is Wish.HOLD
    (notes.state / "wish").write_text("perhaps")
    assert notes.wish(Wish.FOLLOW) is Wish.FOLLOW


def test_what_nobody_told_is_nothing(notes: Notes) -> None:
    assert notes.told() == {}
    notes.tell({"line": 3})
    assert notes.told() == {"line": 3}
    (notes.runtime / "status.json").write_text("[]")
    assert notes.told() == {}
