"""Skills: their sentences mean what they say, and no two skills claim the same ones."""

from __future__ import annotations

import runpy
from datetime import datetime
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hassil import parse_sentence
from hassil.expression import Alternative, Expression, Group, ListReference, TextChunk

from barnabee.skills import load_skills
from barnabee.understanding.sentence_matcher import SentenceMatcher
from barnabee.understanding.skill import Skill, SkillIntent, Slot, SlotKind

SKILLS = load_skills()
MATCHER = SentenceMatcher(SKILLS)
INTENTS = [(skill, intent) for skill in SKILLS for intent in skill.intents]
OWNERS = {intent.name: skill.name for skill, intent in INTENTS}
NOW = datetime(2026, 11, 28, 10, 5, tzinfo=ZoneInfo("Europe/Amsterdam"))
SAMPLES_PER_SENTENCE = 12
EXAMPLES: dict[SlotKind, tuple[str, ...]] = {
    "text": ("blue monkey", "Emma's bicycle"),
    "number": ("five", "12"),
    "duration": ("ten minutes", "an hour and a half"),
    "time": ("half past seven", "7:30 pm"),
    "date": ("the day after tomorrow", "May fifth"),
    "moment": ("tomorrow at eight", "in ten minutes"),
    "weekdays": ("monday and friday", "weekdays"),
}
# A skill on the left gets some sentences of one on the right first, and declines them where
# it has nothing to do with them.
DECLINES = {
    ("ringing", "smalltalk"),  # "stop", "thanks", "tell me again" while nothing rings
    ("ringing", "routines"),  # "I'm up"
    ("media", "smalltalk"),  # "stop" without a player
    ("forgetting", "smalltalk"),  # "forget that" after another topic
    ("notes", "routines"),  # "it's movie night" after another topic
    ("routines", "smalltalk"),  # "good night" without a routine
}


def sample(expression: Expression, slots: dict[str, Slot], random: Random) -> str:
    if isinstance(expression, TextChunk):
        return expression.text
    if isinstance(expression, ListReference):
        return random.choice(EXAMPLES[slots[expression.slot_name].kind])
    assert isinstance(expression, Group)
    items = expression.items
    chosen = [random.choice(items)] if isinstance(expression, Alternative) else items
    return "".join(sample(item, slots, random) for item in chosen)


def sample_sentences(intent: SkillIntent) -> set[str]:
    random = Random(1)  # noqa: S311 - examples
    return {
        " ".join(sample(parse_sentence(sentence).expression, dict(intent.slots), random).split())
        for sentence in intent.sentences
        for _ in range(SAMPLES_PER_SENTENCE)
    }


def test_every_module_with_sentences_is_loaded() -> None:
    assert len(SKILLS) >= 10
    assert len({skill.name for skill in SKILLS}) == len(SKILLS)
    assert len(OWNERS) == len(INTENTS), "two skills have an intent of one name"


@pytest.mark.parametrize(("skill", "intent"), INTENTS, ids=lambda value: value.name)
def test_every_intent_says_what_it_does(skill: Skill, intent: SkillIntent) -> None:
    assert intent.description
    assert not intent.description.endswith(".")
    assert intent.sentences
    assert all(slot.kind in EXAMPLES for slot in intent.slots.values())
    for sentence in intent.sentences:
        expression = parse_sentence(sentence).expression
        assert isinstance(expression, Group)
        named = {slot.slot_name for slot in expression.list_references()}
        required = {name for name, slot in intent.slots.items() if slot.is_required}
        assert required <= named <= set(intent.slots), sentence


@pytest.mark.parametrize(("skill", "intent"), INTENTS, ids=lambda value: value.name)
def test_a_skill_gets_its_own_sentences_first(skill: Skill, intent: SkillIntent) -> None:
    failures = {}
    for text in sample_sentences(intent):
        found = [call.intent for call in MATCHER.match(text, NOW)]
        assert intent.name in found, text
        owner = OWNERS[found[0]]
        if owner != skill.name and (owner, skill.name) not in DECLINES:
            failures[text] = found
    assert failures == {}


def test_the_page_of_sentences_is_current() -> None:
    root = Path(__file__).parents[2]
    script = runpy.run_path(str(root / "scripts/sentences_reference.py"))
    page = (root / "docs/reference/sentences.md").read_text(encoding="utf-8")
    wanted = "run PYTHONPATH=src python scripts/sentences_reference.py"
    assert page == script["render_reference"](), wanted
