"""Browsers that are logged in: each can be shown out, and a restart remembers who is in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from barnabee.api.web_sessions import KEPT, SEEN_EVERY_S, WebSessions, describe_user_agent
from barnabee.core.auth import COOKIE_LIFETIME_S

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_who_was_let_in_is_still_in_after_a_restart_until_shown_out(tmp_path: Path) -> None:
    file, clock = tmp_path / "browsers.json", Clock()
    browser = WebSessions(file, clock).add(PHONE)
    again = WebSessions(file, clock)
    assert again.lets_in(browser)
    assert [one.name for one in again.all()] == ["Safari on iPhone"]
    assert again.remove(browser)
    assert not again.lets_in(browser)
    assert not again.remove(browser)
    assert not WebSessions(file, clock).lets_in(browser)


def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    WebSessions(tmp_path / "browsers.json", Clock()).add("")
    assert (tmp_path / "browsers.json").stat().st_mode & 0o777 == 0o600


def test_one_that_was_not_here_for_as_long_as_a_cookie_lives_is_out(tmp_path: Path) -> None:
    clock = Clock()
    browsers = WebSessions(tmp_path / "browsers.json", clock)
    browser = browsers.add(PHONE)
    clock.now_s += COOKIE_LIFETIME_S - 1
    assert browsers.lets_in(browser)
    clock.now_s += COOKIE_LIFETIME_S - 1
    assert browsers.lets_in(browser)
    clock.now_s += COOKIE_LIFETIME_S + SEEN_EVERY_S + 1
    assert not browsers.lets_in(browser)


def test_the_one_not_seen_for_longest_makes_room(tmp_path: Path) -> None:
    clock = Clock()
    browsers = WebSessions(tmp_path / "browsers.json", clock)
    ids = []
    for _ in range(KEPT + 1):
        ids.append(browsers.add(PHONE))
        clock.now_s += 1
    assert not browsers.lets_in(ids[0])
    assert all(browsers.lets_in(one) for one in ids[1:])


@pytest.mark.parametrize("text", ["", "[", '{"a": 1}', '[{"id": "x"}]', "[1]", "null"])
def test_a_file_that_is_no_list_of_browsers_lets_nobody_in(tmp_path: Path, text: str) -> None:
    file = tmp_path / "browsers.json"
    file.write_text(text, encoding="utf-8")
    browsers = WebSessions(file, Clock())
    assert browsers.all() == []
    browsers.add(PHONE)
    assert len(json.loads(file.read_text(encoding="utf-8"))) == 1


def test_a_folder_that_cannot_be_written_lets_in_until_the_restart(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "browsers.json"
    browsers = WebSessions(file, Clock())
    browser = browsers.add(PHONE)
    assert browsers.lets_in(browser)
    assert not WebSessions(file, Clock()).lets_in(browser)


NAMES = [
    ("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/150.0", "Firefox on Linux"),
    ("Mozilla/5.0 (Linux; Android 16) Chrome/150.0 Mobile Safari/537.36", "Chrome on Android"),
    ("Mozilla/5.0 (Windows NT 10.0) Chrome/150.0 Safari/537.36 Edg/150.0", "Edge on Windows"),
    ("curl/8.9", "curl/8.9"),
    ("x\x00\n" * 100, "x" * 40),
    ("", "a browser"),
]


@pytest.mark.parametrize(("agent", "name"), NAMES)
def test_it_is_called_what_a_person_calls_it(agent: str, name: str) -> None:
    assert describe_user_agent(agent) == name
