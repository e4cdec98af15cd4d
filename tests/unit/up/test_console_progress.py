from __future__ import annotations

import io

from rich.console import Console

from barnabee.up.console import show_progress


def lines(*reports: tuple[str, int, int]) -> list[str]:
    out = io.StringIO()
    with show_progress(Console(file=out, width=40)) as steps:
        for report in reports:
            steps.report(*report)
    return out.getvalue().splitlines()


def test_a_pipe_gets_a_line_at_start_and_end_with_the_size() -> None:
    found = lines(
        ("whisper", 0, 2_000_000), ("whisper", 5, 2_000_000), ("whisper", 2_000_000, 2_000_000)
    )
    assert found == ["whisper: fetching (2 MB)", "whisper: done, 2 MB in 0 s"]


def test_a_step_that_is_already_complete_is_not_shown() -> None:
    assert lines(("whisper", 2_000_000, 2_000_000)) == []


def test_a_step_of_unknown_size_shows_its_size_at_the_end() -> None:
    found = lines(("home", 1, 0), ("home", 3_000_000, 3_000_000))
    assert found == ["home: fetching", "home: done, 3 MB in 0 s"]


def test_a_terminal_gets_bars_with_bytes() -> None:
    out = io.StringIO()
    with show_progress(Console(file=out, force_terminal=True, width=100)) as steps:
        steps.report("whisper", 1_000_000, 2_000_000)
    assert "1.0/2.0 MB" in out.getvalue()
