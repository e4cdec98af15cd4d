"""Index of sentence templates: those that a text can be, before they are matched exactly. Pure.

Matching one template takes up to 0.3 ms, and there are a thousand. An entry is found if the text
has the words that its template needs, in an order that the template allows; it may still not match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Generic, TypeVar

from hassil import Sentence
from hassil.expression import (
    Alternative,
    Expression,
    Group,
    ListReference,
    Permutation,
    RuleReference,
    TextChunk,
)

EntryT = TypeVar("EntryT")
Rules = Mapping[str, Sentence]
Clause = frozenset[str]  # a text has at least one of these fragments
# The values of lists; a clause stands for any text with one of its fragments.
Lists = Mapping[str, Expression | Clause]
_ANY = ""  # the fragment of templates without a clause
_NOT_WORD = re.compile(r"[\W_]+")


@dataclass
class _Entry(Generic[EntryT]):
    """An entry; `needed` has one bit for each clause."""

    number: int
    value: EntryT
    needed: int
    expression: Expression
    rules: Rules
    lists: Lists

    @cached_property
    def outline(self) -> re.Pattern[str]:
        """The template without spaces and punctuation, with anything in the place of slots."""
        return re.compile(_make_outline(self.expression, self.rules, self.lists))


class SentenceIndex(Generic[EntryT]):
    """Entries by their templates, in the order in which they were added."""

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules or {}
        self._count = self._longest = 0
        self._clauses: dict[Clause, int] = {}
        self._bits: dict[str, int] = {}  # the clauses that a fragment satisfies
        # Each entry by the fragments of one of its clauses.
        self._entries: dict[str, list[_Entry[EntryT]]] = {_ANY: []}

    def add(
        self, value: EntryT, expression: Expression, lists: Lists = MappingProxyType({})
    ) -> None:
        """Add `value` with its template; the value of a list that is not in `lists` is any text."""
        clauses = _list_clauses(expression, self._rules, lists)
        needed = 0
        for clause in clauses:
            needed |= self._add_clause(clause)
        self._count += 1
        entry = _Entry(self._count, value, needed, expression, self._rules, lists)
        for fragment in max(clauses, key=_measure, default=(_ANY,)):
            self._entries.setdefault(fragment, []).append(entry)

    def find(
        self, text: str, marks: Iterable[str] = (), *, in_order: bool = True
    ) -> Iterator[EntryT]:
        """Yield the values whose templates `text` can be; it is in lower case.

        `marks` count as fragments of the text. The order matters unless `in_order` is false.
        """
        present = self._bits.keys() & {*_list_fragments(text, self._longest), *marks}
        given = 0
        for fragment in present:
            given |= self._bits[fragment]
        found = {
            entry.number: entry
            for fragment in (_ANY, *present)
            for entry in self._entries.get(fragment, ())
            if not entry.needed & ~given
        }
        squeezed = _squeeze(text)
        for _, entry in sorted(found.items()):
            if not in_order or entry.outline.fullmatch(squeezed):
                yield entry.value

    def _add_clause(self, clause: Clause) -> int:
        if clause not in self._clauses:
            bit = self._clauses[clause] = 1 << len(self._clauses)
            self._longest = max(self._longest, *map(len, clause))
            for fragment in clause:
                self._bits[fragment] = self._bits.get(fragment, 0) | bit
        return self._clauses[clause]


def _resolve(expression: Expression, rules: Rules, lists: Lists) -> Expression | Clause | None:
    """Return what a reference stands for, None for any text."""
    if isinstance(expression, RuleReference):
        return rules[expression.rule_name].expression
    return lists.get(expression.list_name) if isinstance(expression, ListReference) else expression


def _list_clauses(expression: Expression, rules: Rules, lists: Lists) -> list[Clause]:
    """Return clauses that every text satisfies which `expression` matches."""
    meant = _resolve(expression, rules, lists)
    if isinstance(meant, frozenset):
        return [meant]
    if isinstance(meant, TextChunk):
        words = meant.text.lower().split()
        return [frozenset({word}) for word in words if not _NOT_WORD.search(word)]
    parts = [_list_clauses(item, rules, lists) for item in _list_items(meant)]
    if not isinstance(meant, Alternative):
        return [clause for part in parts for clause in part]
    is_needed = bool(parts) and all(parts)
    return [frozenset().union(*(min(part, key=len) for part in parts))] if is_needed else []


def _list_items(meant: Expression | None) -> list[Expression]:
    return meant.items if isinstance(meant, Group) else []


def _list_fragments(text: str, longest: int) -> Iterator[str]:
    """Yield what the words of `text` contain, up to this length."""
    for word in set(text.split()):
        for start in range(len(word)):
            for end in range(start + 1, min(start + longest, len(word)) + 1):
                yield word[start:end]


def _measure(clause: Clause) -> int:
    """Return the length of the shortest fragment; long ones are rarer."""
    return min(map(len, clause))


def _squeeze(text: str) -> str:
    return _NOT_WORD.sub("", text)


def _make_outline(expression: Expression, rules: Rules, lists: Lists) -> str:
    meant = _resolve(expression, rules, lists)
    if isinstance(meant, TextChunk):
        return re.escape(_squeeze(meant.text.lower()))
    if not isinstance(meant, Group):
        return ".*"
    items = [_make_outline(item, rules, lists) for item in meant.items]
    if isinstance(meant, Permutation):
        return f"(?:{'|'.join(items)}){{{len(items)}}}"
    return f"(?:{'|'.join(items)})" if isinstance(meant, Alternative) else "".join(items)
