"""Shopping and to-do lists: the `todo` entities of Home Assistant, and what a sentence means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barnabee.understanding.entity_lookup import find_by_name, join_names, list_entities
from barnabee.understanding.interfaces import Entity, Home, HomeControl
from barnabee.understanding.words import fold_name

NO_LIST = "I have no list to write on. Add a to-do list in Home Assistant and expose it to Assist."
OPEN, DONE = "needs_action", "completed"
_SYNONYMS = {
    "shopping": ("shopping", "grocery", "groceries", "shop", "supermarket"),
    "to do": ("to do", "todo", "to dos", "task", "tasks", "chores"),
}
_PAIRS = ("mac and cheese", "fish and chips", "macaroni and cheese", "bread and butter pudding")
_SEPARATOR = re.compile(r"\s*(?:,\s*and\s+|,|;|\band\b|&|\bplus\b)\s*", re.IGNORECASE)
_ARTICLES = re.compile(
    r"^(?:(?:some|the|a|an|any|more|my|our|also|another|please)\s+)+(?=\S)", re.IGNORECASE
)
_LIST_WORDS = re.compile(r"^(?:the|my|our|a)\s+|\s+list$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of a list."""

    summary: str
    uid: str
    status: str = OPEN

    @property
    def key(self) -> str:
        return fold_item(self.summary)


@dataclass(frozen=True, slots=True)
class TodoList:
    """One list. All methods raise HomeRefused or Unavailable."""

    home: HomeControl
    entity: Entity

    @property
    def name(self) -> str:
        return f"the {self.entity.name.lower()}"

    async def read_items(self, *statuses: str) -> list[Item]:
        """Return the items in these states; without any, those that are open."""
        data = {"status": list(statuses or (OPEN,))}
        found = await self._call("get_items", data, has_response=True)
        entries = found.get(self.entity.entity_id, {}).get("items", ())
        return [
            Item(one["summary"], one.get("uid") or one["summary"], one.get("status", OPEN))
            for one in entries
        ]

    async def add(self, text: str) -> None:
        await self._call("add_item", {"item": text})

    async def set_status(self, item: Item, status: str) -> None:
        await self._call("update_item", {"item": item.uid, "status": status})

    async def remove(self, items: Sequence[Item]) -> None:
        await self._call("remove_item", {"item": [item.uid for item in items]})

    async def _call(
        self, service: str, data: Mapping[str, Any], *, has_response: bool = False
    ) -> Mapping[str, Any]:
        ids = (self.entity.entity_id,)
        return await self.home.call_service(f"todo.{service}", ids, data, has_response=has_response)


def split_items(text: str) -> list[str]:
    """Return the items of "milk, eggs and some bread", without articles."""
    held = text
    for number, pair in enumerate(_PAIRS):
        held = re.sub(rf"\b{pair}\b", f"\x00{number}", held, flags=re.IGNORECASE)
    pieces = (_ARTICLES.sub("", piece.strip(" .!?")) for piece in _SEPARATOR.split(held))
    items = [re.sub(r"\x00(\d)", lambda m: _PAIRS[int(m[1])], piece) for piece in pieces]
    return [item for item in items if item]


def fold_item(text: str) -> str:
    """Return what "egg", "Eggs" and "the eggs" have in common."""
    key = fold_name(_ARTICLES.sub("", text))
    if key.endswith("oes"):
        return key[:-2]
    return key[:-1] if key.endswith("s") and not key.endswith("ss") else key


def find_item(items: Sequence[Item], text: str) -> Item | None:
    """Return the item of this name, or the only one that contains the name."""
    key = fold_item(text)
    if exact := [item for item in items if item.key == key]:
        return exact[0]
    within = [item for item in items if re.search(rf"\b{re.escape(key)}\b", item.key)]
    return within[0] if len(within) == 1 else None


def choose_list(home: Home, phrase: str | None) -> Entity | str | None:
    """Return the list that `phrase` means, or a sentence that says why there is none.

    None means that `phrase` does not speak of a list at all.
    """
    lists = list_entities(home, "todo")
    if phrase is None:
        return _choose_unnamed(lists)
    name = _fold_list(phrase)
    kind = next((kind for kind, words in _SYNONYMS.items() if name in words), None)
    for one in _SYNONYMS[kind] if kind else (name,):
        if found := find_by_name(lists, one, _fold_list):
            return found[0]
    says_list = phrase.lower().endswith("list")
    if not says_list and kind is None:
        return None
    if not lists:
        return NO_LIST
    if name in {"", "list"}:
        return _choose_unnamed(lists)
    return f"I know no {name} list. I know {join_names([one.name for one in lists])}."


def _choose_unnamed(lists: Sequence[Entity]) -> Entity | str:
    if not lists:
        return NO_LIST
    shopping = (one for one in lists if _fold_list(one.name) in _SYNONYMS["shopping"])
    if chosen := next(shopping, lists[0] if len(lists) == 1 else None):
        return chosen
    return f"Say on which list: {join_names([one.name for one in lists], 'or')}."


def _fold_list(name: str) -> str:
    text = _LIST_WORDS.sub("", name.strip(" .!?").replace("-", " "))
    return fold_name(_LIST_WORDS.sub("", text))
