"""The sentences of a family's first week on a real api and a real Home Assistant of both releases.

Neither inference nor a language model runs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.demo_home import BOTH_RELEASES, DemoHomeProcess, provide_venv
from support.first_week import count_right, load_dialogues, report, run_dialogue
from support.first_week_api import run_household

pytestmark = [pytest.mark.timeout(900)]

MIN_RIGHT, MIN_FIRST_RIGHT = 0.9, 65 / 72


@pytest.mark.parametrize("is_other", BOTH_RELEASES)
async def test_the_first_week_on_home_assistant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, is_other: bool
) -> None:
    home = DemoHomeProcess(tmp_path / "home", venv=await provide_venv(other=is_other))
    await home.start()
    try:
        async with run_household(home, tmp_path / "api") as household:
            judgements = [
                judgement
                for dialogue in load_dialogues()
                for judgement in await run_dialogue(dialogue, household)
            ]
    finally:
        home.stop()
    first = [one for one in judgements if one.dialogue.is_first]
    with capsys.disabled():
        print(f"\nHome Assistant of {home.year}\n{report(judgements)}")
    assert [str(one) for one in judgements if one.verdict == "misleading"] == []
    assert count_right(judgements) / len(judgements) >= MIN_RIGHT
    assert count_right(first) / len(first) >= MIN_FIRST_RIGHT
