"""The index never loses a sentence that a template matches, and leaves most templates out."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
from hassil import parse_sentence
from hassil.expression import (
    Alternative,
    Expression,
    Group,
    ListReference,
    Permutation,
    RuleReference,
    TextChunk,
)
from hypothesis import given
from hypothesis import strategies as st

from barnabee.skills import load_skills
from barnabee.understanding.sentence_index import Lists, Rules, SentenceIndex
from barnabee.understanding.skill import Skill

RULES: Rules = {"the": parse_sentence("(the|my) "), "turn": parse_sentence("(turn|switch)")}
LISTS: Lists = {
    "colour": Alternative(items=[TextChunk("red"), TextChunk("dark blue")]),
    "level": frozenset({"1", "2", "half"}),
    "name": frozenset({"{name}"}),
}
TEMPLATES = (
    "<turn> on [<the>]{name}",
    "<turn> [<the>](light|lamp)[s] (on;[here])",
    "(make|paint) [<the>]{name} {colour}",
    "dim [<the>]{name} to {level}",
    "what's [the] time",
    "{anything}",
)
VALUES = {"colour": ["red", "dark blue"], "level": ["12", "half"], "name": ["desk lamp"]}


def make_index() -> SentenceIndex[str]:
    index = SentenceIndex[str](RULES)
    for template in TEMPLATES:
        index.add(template, parse_sentence(template).expression, LISTS)
    return index


INDEX = make_index()


def find(text: str, *marks: str) -> list[str]:
    return list(INDEX.find(text, marks))


def say(expression: Expression, random: Random) -> str:
    """Return one of the sentences that the template writes."""
    if isinstance(expression, TextChunk):
        return expression.text
    if isinstance(expression, RuleReference):
        return say(RULES[expression.rule_name].expression, random)
    if isinstance(expression, ListReference):
        return random.choice(VALUES.get(expression.list_name, ["some words"]))
    assert isinstance(expression, Group)
    if isinstance(expression, Alternative):
        return say(random.choice(expression.items), random)
    items = list(expression.items)
    if isinstance(expression, Permutation):
        random.shuffle(items)
    return "".join(map(partial(say, random=random), items))


@given(st.sampled_from(TEMPLATES), st.randoms(use_true_random=False))
def test_a_sentence_of_a_template_is_found(template: str, random: Random) -> None:
    assert template in find(say(parse_sentence(template).expression, random), "{name}")


@given(st.sampled_from(load_skills()), st.randoms(use_true_random=False))
def test_sentences_of_skills_are_found(skill: Skill, random: Random) -> None:
    for intent in skill.intents:
        for sentence in intent.sentences:
            expression = parse_sentence(sentence.lower()).expression
            index = SentenceIndex[str]()
            index.add(sentence, expression)
            assert list(index.find(say(expression, random))) == [sentence]


@pytest.mark.parametrize(
    ("text", "marks", "found"),
    [
        ("turn on the desk lamp", {"{name}"}, [0]),
        ("turn on the desk lamp", set(), []),
        ("switch my lamps here on", set(), [1]),
        ("lamp turn", set(), []),
        ("paint the desk lamp dark blue", {"{name}"}, [2]),
        ("paint the desk lamp green", {"{name}"}, []),
        ("dim the desk lamp to 12", {"{name}"}, [3]),
        ("dim the desk lamp to seven", {"{name}"}, []),
        ("whats time", set(), [4]),
    ],
)
def test_only_possible_templates_are_found(text: str, marks: set[str], found: list[int]) -> None:
    assert find(text, *marks) == [*(TEMPLATES[one] for one in found), "{anything}"]


def test_order_does_not_matter_where_words_may_be_skipped() -> None:
    assert TEMPLATES[0] in INDEX.find("on turn", {"{name}"}, in_order=False)
    assert TEMPLATES[0] not in INDEX.find("on turn", {"{name}"})
