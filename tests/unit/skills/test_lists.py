"""Shopping and to-do lists, by the sentences that are said to them."""

from __future__ import annotations

import pytest

from barnabee.core.errors import DependencyDown
from barnabee.skills import lists
from barnabee.understanding.todo_lists import Item, find_item, split_items
from support.home import FakeHome
from support.skills import SkillDialogue

SHOPPING, TASKS = "todo.shopping_list", "todo.tasks"


@pytest.fixture
def home() -> FakeHome:
    home = FakeHome()
    home.add(SHOPPING, "Shopping List", "0")
    home.add(TASKS, "To-do", "0")
    return home


@pytest.fixture
def dialogue(home: FakeHome) -> SkillDialogue:
    return SkillDialogue([lists.SKILL], home)


async def reply(dialogue: SkillDialogue, text: str) -> str | None:
    answer = await dialogue.say(text)
    return answer.text if answer is not None else None


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("milk", ["milk"]),
        ("milk, eggs and bread", ["milk", "eggs", "bread"]),
        ("some milk, a dozen eggs, and the bread", ["milk", "dozen eggs", "bread"]),
        ("fish and chips and ketchup", ["fish and chips", "ketchup"]),
        ("2 litres of milk & butter", ["2 litres of milk", "butter"]),
        (" , and ", []),
    ],
)
def test_items_are_split_and_lose_their_articles(text: str, items: list[str]) -> None:
    assert split_items(text) == items


@pytest.mark.parametrize(
    ("text", "found"),
    [("egg", "Eggs"), ("the tomato", "tomatoes"), ("milk", "milk"), ("paper", "toilet paper")],
)
def test_an_item_is_found_in_singular_plural_or_by_a_part(text: str, found: str) -> None:
    known = [Item(one, one) for one in ("Eggs", "tomatoes", "milk", "oat milk", "toilet paper")]
    item = find_item(known, text)
    assert item is not None
    assert item.summary == found


@pytest.mark.parametrize(
    ("sentence", "list_id", "items"),
    [
        ("add milk to the shopping list", SHOPPING, ["milk"]),
        ("put eggs, bread and butter on my shopping list", SHOPPING, ["eggs", "bread", "butter"]),
        ("add oats to the grocery list", SHOPPING, ["oats"]),
        ("add call the plumber to my to-do list", TASKS, ["call the plumber"]),
        ("we need toilet paper", SHOPPING, ["toilet paper"]),
        ("we're out of coffee", SHOPPING, ["coffee"]),
        ("add bananas", SHOPPING, ["bananas"]),
        ("I need to buy batteries", SHOPPING, ["batteries"]),
    ],
)
async def test_items_are_put_on_the_list_that_is_named_or_the_shopping_list(
    dialogue: SkillDialogue, home: FakeHome, sentence: str, list_id: str, items: list[str]
) -> None:
    assert await dialogue.say(sentence)
    assert list(home.items[list_id]) == items


@pytest.mark.parametrize(
    "sentence",
    [
        "put the kettle on the stove",
        "take the kids off the bus",
        "add five minutes",
        "add 5 to 7",
        "is the lamp on the table",
        "what's on television",
        "we need to talk to grandma",
        "I got a new phone",
        "add me to the group",
    ],
)
async def test_a_sentence_about_something_else_is_left_to_others(
    dialogue: SkillDialogue, home: FakeHome, sentence: str
) -> None:
    assert await dialogue.say(sentence) is None
    assert home.items == {SHOPPING: {}, TASKS: {}}


async def test_a_list_is_read_checked_counted_and_checked_off(
    dialogue: SkillDialogue, home: FakeHome
) -> None:
    assert await reply(dialogue, "what's on the shopping list") == (
        "There is nothing on the shopping list."
    )
    await dialogue.say("add milk, eggs and bread to the shopping list")
    assert await reply(dialogue, "what's on my shopping list?") == (
        "On the shopping list: milk, eggs and bread."
    )
    assert await reply(dialogue, "how many things are on the shopping list") == (
        "There are 3 things on the shopping list."
    )
    assert await reply(dialogue, "do we need eggs") == "Yes, eggs is on the shopping list."
    assert await reply(dialogue, "is butter on the shopping list") == (
        "No, butter is not on the shopping list."
    )
    assert await reply(dialogue, "I bought milk") == "I checked milk off the shopping list."
    assert await reply(dialogue, "remove bread and jam from the list") == (
        "I took bread off the shopping list. There is no jam on the shopping list."
    )
    assert home.items[SHOPPING] == {"milk": "completed", "eggs": "needs_action"}


async def test_an_item_is_not_added_twice_and_comes_back_when_it_was_checked_off(
    dialogue: SkillDialogue, home: FakeHome
) -> None:
    home.items[SHOPPING] = {"Milk": "needs_action", "Eggs": "completed"}
    answer = await reply(dialogue, "add milk and eggs to the shopping list")
    assert answer == "I put eggs on the shopping list. Milk is already on the shopping list."
    assert home.items[SHOPPING] == {"Milk": "needs_action", "Eggs": "needs_action"}


@pytest.mark.parametrize(
    ("said", "remaining"), [("yes", {}), ("no", {"milk": "needs_action"}), ("yes please", {})]
)
async def test_a_list_is_emptied_only_after_a_yes(
    dialogue: SkillDialogue, home: FakeHome, said: str, remaining: dict[str, str]
) -> None:
    home.items[SHOPPING] = {"milk": "needs_action"}
    assert await reply(dialogue, "clear the shopping list") == (
        "There is 1 thing on the shopping list. Shall I remove everything?"
    )
    assert home.items[SHOPPING] == {"milk": "needs_action"}
    await dialogue.say(said)
    assert home.items[SHOPPING] == remaining


async def test_a_refusal_is_told_with_its_reason_and_what_was_written(
    dialogue: SkillDialogue, home: FakeHome
) -> None:
    home.refusals["todo.add_item"] = "the list is full"
    answer = await dialogue.say("add milk to the shopping list")
    assert answer is not None
    assert answer.text == "I could not write on the shopping list: the list is full."
    assert not answer.acted


async def test_a_pronoun_is_no_item(dialogue: SkillDialogue, home: FakeHome) -> None:
    assert await reply(dialogue, "add it to the shopping list") == (
        "What should I put on the shopping list?"
    )
    assert home.items[SHOPPING] == {}


async def test_an_unknown_list_is_named_with_the_known_ones(dialogue: SkillDialogue) -> None:
    assert await reply(dialogue, "add a tent to the camping list") == (
        "I know no camping list. I know Shopping List and To-do."
    )


async def test_without_a_list_or_home_assistant_the_reply_says_so() -> None:
    sentence = "add milk to the shopping list"
    empty = SkillDialogue([lists.SKILL], FakeHome())
    assert "to-do list in Home Assistant" in (await reply(empty, sentence) or "")
    alone = SkillDialogue([lists.SKILL], None)
    assert "not connected" in (await reply(alone, sentence) or "")
    down = FakeHome(error=DependencyDown(dependency="home_assistant", reason="gone"))
    with pytest.raises(DependencyDown):
        await SkillDialogue([lists.SKILL], down).say(sentence)
