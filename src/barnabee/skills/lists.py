"""Shopping and to-do lists: add, take off, check off, read, empty."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from barnabee.core.errors import HomeRefused
from barnabee.understanding.entity_lookup import NOT_CONNECTED, capitalize, join_names
from barnabee.understanding.interfaces import Entity
from barnabee.understanding.questions import parse_yes_no
from barnabee.understanding.skill import (
    Question,
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.todo_lists import (
    DONE,
    NO_LIST,
    OPEN,
    TodoList,
    choose_list,
    find_item,
    fold_item,
    split_items,
)

# What "add …", "we need …" and "buy …" can also begin, and is no article to buy.
_NO_ITEM = re.compile(
    r"\d|\b(?:to|on|onto|from|into|minutes?|hours?|seconds?|timer|alarm|reminder|calendar)\b"
    r"|^(?:help|you|it|that|this|them)\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"(?:it|that|this|them|those|these|something|one)", re.IGNORECASE)
_CHECK_OFF = re.compile(r"(?:check|tick|cross|strike|mark)\b", re.IGNORECASE)


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    if context.home is None:
        return NOT_CONNECTED if re.search(r"\blist\b", call.text, re.IGNORECASE) else None
    chosen = choose_list(await context.home.read_home(), call.slots.get("list"))
    if not isinstance(chosen, Entity):
        return SkillReply(chosen, code="no_valid_targets") if chosen and _is_certain(call) else None
    if not chosen.is_available:
        return SkillReply(f"{chosen.name} is not available right now.", code="unavailable")
    return await _act(call, TodoList(context.home, chosen))


async def answer(question: Question, text: str, context: SkillContext) -> SkillReply | None:
    """Empty the list after a yes."""
    is_agreed = parse_yes_no(text)
    if is_agreed is None or context.home is None:
        return None
    if not is_agreed:
        return SkillReply("Okay, I left it as it is.")
    chosen = (await context.home.read_home()).entities.get(question.data["list"])
    if chosen is None:
        return SkillReply(NO_LIST, code="no_valid_targets")
    return await _clear(TodoList(context.home, chosen))


async def _act(call: SkillCall, todo: TodoList) -> SkillReply | None:
    text = str(call.slots.get("item", ""))
    match call.intent:
        case "list_add" if _PRONOUN.fullmatch(text):
            return SkillReply(f"What should I put on {todo.name}?", code="no_item")
        case "list_add":
            return await _add(todo, text) if _is_item(call, text) else None
        case "list_remove" | "list_complete":
            return await _take_off(todo, text, call)
        case "list_clear":
            return await _ask_to_clear(todo)
        case "list_check":
            return await _check(todo, text)
        case _:
            return await _read(todo, count_only=call.text.lower().startswith("how many"))


async def _add(todo: TodoList, text: str) -> SkillReply:
    known = {item.key: item for item in await todo.read_items(OPEN, DONE)}
    wanted = {fold_item(item): item for item in split_items(text)}
    added: list[str] = []
    there: list[str] = []
    for key, item in wanted.items():
        if key in known and known[key].status == OPEN:
            there.append(item)
            continue
        try:
            await (todo.set_status(known[key], OPEN) if key in known else todo.add(item))
        except HomeRefused as error:
            return _reply_partly(todo, added, error)
        added.append(item)
    parts = [f"I put {join_names(added)} on {todo.name}."] if added else []
    if there:
        parts.append(f"{capitalize(join_names(there))} {_be(there)} already on {todo.name}.")
    return SkillReply(" ".join(parts), acted=bool(added), actions=_actions(todo, added))


async def _take_off(todo: TodoList, text: str, call: SkillCall) -> SkillReply | None:
    known = await todo.read_items()
    wanted = {item: find_item(known, item) for item in split_items(text)}
    found = [item for item in wanted.values() if item is not None]
    missing = [text for text, item in wanted.items() if item is None]
    if not found and not _is_certain(call):
        return None
    names = [item.summary for item in found]
    if call.intent == "list_complete":
        for item in found:
            await todo.set_status(item, DONE)
        done = f"I checked {join_names(names)} off {todo.name}."
    else:
        if found:
            await todo.remove(found)
        done = f"I took {join_names(names)} off {todo.name}."
    parts = [done] if found else []
    if missing:
        parts.append(f"There is no {join_names(missing, 'or')} on {todo.name}.")
    return SkillReply(" ".join(parts), acted=bool(found), actions=_actions(todo, names))


async def _read(todo: TodoList, *, count_only: bool) -> SkillReply:
    items = [item.summary for item in await todo.read_items()]
    if not items:
        return SkillReply(f"There is nothing on {todo.name}.")
    if count_only:
        return SkillReply(f"There {_count(len(items))} on {todo.name}.")
    return SkillReply(f"On {todo.name}: {join_names(items)}.")


async def _check(todo: TodoList, text: str) -> SkillReply:
    known = await todo.read_items()
    wanted = split_items(text)
    there = [item for item in wanted if find_item(known, item) is not None]
    missing = [item for item in wanted if item not in there]
    if not missing:
        return SkillReply(f"Yes, {join_names(there)} {_be(there)} on {todo.name}.")
    if not there:
        return SkillReply(f"No, {join_names(missing, 'or')} {_be(missing[:1])} not on {todo.name}.")
    return SkillReply(
        f"{capitalize(join_names(there))} {_be(there)} on {todo.name}, {join_names(missing)} not."
    )


async def _ask_to_clear(todo: TodoList) -> SkillReply:
    items = await todo.read_items()
    if not items:
        return SkillReply(f"There is nothing on {todo.name}.")
    return SkillReply(
        f"There {_count(len(items))} on {todo.name}. Shall I remove everything?",
        question=Question(SKILL.name, {"list": todo.entity.entity_id}),
    )


async def _clear(todo: TodoList) -> SkillReply:
    items = await todo.read_items()
    if items:
        await todo.remove(items)
    actions = _actions(todo, [item.summary for item in items])
    return SkillReply(f"I emptied {todo.name}.", acted=bool(items), actions=actions)


def _reply_partly(todo: TodoList, added: Sequence[str], error: HomeRefused) -> SkillReply:
    begun = f"I put only {join_names(added)} on {todo.name}"
    if not added:
        begun = f"I could not write on {todo.name}"
    text = f"{begun}: {error.fields.get('reason', 'Home Assistant refused')}."
    return SkillReply(text, acted=bool(added), code=error.code, actions=_actions(todo, added))


def _actions(todo: TodoList, items: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
    return tuple({"type": "list", "name": item, "id": todo.entity.entity_id} for item in items)


def _is_certain(call: SkillCall) -> bool:
    """Return whether the sentence cannot mean anything else."""
    is_check_off = _CHECK_OFF.match(call.text) is not None
    return "list" in call.slots or call.intent == "list_read" or is_check_off


def _is_item(call: SkillCall, text: str) -> bool:
    return "list" in call.slots or _NO_ITEM.search(text) is None


def _be(items: Sequence[str]) -> str:
    return "is" if len(items) == 1 else "are"


def _count(number: int) -> str:
    return "is 1 thing" if number == 1 else f"are {number} things"


_TO = "(to|on|onto|on to|in|into)"
_THE = "[the|my|our]"
_ITEM = Slot(description="What is on the list, for example: milk, eggs and bread")
_LIST = Slot(description="The name of the list, for example: shopping list", is_required=False)

SKILL = Skill(
    name="lists",
    intents=(
        SkillIntent(
            "list_add",
            "put something on a list",
            (
                f"(add|put|write|stick|note) {{item}} {_TO} {_THE} {{list}}",
                "add {item}",
                "(we need|we are out of|we're out of|we ran out of|we have run out of) {item}",
                "(we've run out of|we are running out of|we're running out of) {item}",
                "(buy|we need to buy|i need to buy|we have to buy|i have to buy) {item}",
                "(we should buy|we should get|remember to buy|don't forget to buy) {item}",
            ),
            {"item": _ITEM, "list": _LIST},
        ),
        SkillIntent(
            "list_remove",
            "take something off a list",
            (
                f"(remove|take|delete|erase|scratch) {{item}} (from|off|off of) {_THE} {{list}}",
                "(we don't need|we do not need|i don't need) {item} (anymore|any more|after all)",
                "(we don't need|we do not need) {item}",
                "(take off|remove) {item} [too|as well|again]",
            ),
            {"item": _ITEM, "list": _LIST},
        ),
        SkillIntent(
            "list_complete",
            "check something off a list",
            (
                "(check|tick|cross|strike) off {item}",
                "(check|tick|cross|strike) {item} off",
                f"(check|tick|cross|strike) {{item}} off {_THE} {{list}}",
                f"(check|tick|cross|strike) off {{item}} (on|from) {_THE} {{list}}",
                "mark {item} (as done|done|as bought|as complete|as completed|complete|completed)",
                "(i bought|i got|i have bought|i've bought|i've got|we bought|we got) {item}",
            ),
            {"item": _ITEM, "list": _LIST},
        ),
        SkillIntent(
            "list_read",
            "tell you what is on a list",
            (
                f"(what's|what is|whats) [left|still] on {_THE} {{list}}",
                f"(read|tell) me [what's on|what is on] {_THE} {{list}}",
                f"(read|read out|show|show me) {_THE} {{list}}",
                f"what do i have on {_THE} {{list}}",
                f"{_THE} [shopping|grocery] list",
                "what do (we|i) need (to buy|to get|from the shop|from the store|at the shop)",
                f"how many (things|items|entries) [are] [there] on {_THE} {{list}}",
                "what do (we|i) need (at the store|from the supermarket|at the supermarket)",
            ),
            {"list": _LIST},
        ),
        SkillIntent(
            "list_check",
            "tell you whether something is on a list",
            (
                f"(is|are) {{item}} on {_THE} {{list}}",
                f"(is|are) there [any] {{item}} on {_THE} {{list}}",
                f"(do i have|do we have|did i put|did we put) {{item}} on {_THE} {{list}}",
                "do we need [any] {item}",
            ),
            {"item": _ITEM, "list": _LIST},
        ),
        SkillIntent(
            "list_clear",
            "empty a list",
            (
                f"(clear|empty|wipe) {_THE} {{list}}",
                f"(remove|delete) everything (from|on|off) {_THE} {{list}}",
            ),
            {"list": _LIST},
        ),
    ),
    handle=handle,
    answer=answer,
)
