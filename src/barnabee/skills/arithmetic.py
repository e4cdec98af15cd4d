"""Sums: spoken arithmetic, percentages, tips and splitting a bill.

A spoken expression becomes one of Python's grammar, of which only numbers and arithmetic operators
are evaluated, with limits on the size of operands.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.spoken_numbers import NUMBER_FRAGMENTS, replace_number_words

Number = int | float
_MAX_CHARS, _MAX_VALUE, _MAX_EXPONENT, _MAX_FACTORIAL = 200, 10**30, 100, 25
_DIVIDED_BY_ZERO = "Nothing can be divided by zero."
_TOO_LARGE = "That number is too large for me."
_NOT_REAL = "That has no real result."
_OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: Mapping[str, Callable[[Number], Number]] = {
    "sqrt": math.sqrt,
    "cbrt": lambda value: math.copysign(abs(value) ** (1 / 3), value),
    "factorial": lambda value: math.factorial(int(value)) if value == int(value) else math.nan,
}
_N = r"(-?\d+(?:\.\d+)?)"
_CURRENCIES = {"$": "dollars", "€": "euros", "£": "pounds"}
_CURRENCY = re.compile(r"\b(dollars?|euros?|pounds?|bucks|cents|pence)\b")
# From speech to operators, in this order.
_SPOKEN: tuple[tuple[str, str], ...] = (
    (r"^(?:the )?(?:result|sum|total) of ", ""),
    (r"\bsquare root (?:of )?", "sqrt "),
    (r"\bcube root (?:of )?", "cbrt "),
    (rf"^{_N} factorial$", r"factorial \1"),
    (r"\b(?:the )?factorial of ", "factorial "),
    (r"^(?:add|plus) (.+?) (?:to|and|plus) (.+)$", r"\1 + \2"),
    (r"^(?:subtract|take|take away|minus) (.+?) (?:away )?from (.+)$", r"\2 - (\1)"),
    (r"^multiply (.+?) (?:by|with|and|times) (.+)$", r"(\1) * \2"),
    (r"^(?:divide|split) (.+?) (?:by|into) (.+)$", r"(\1) / (\2)"),
    (r"^(?:the )?product of (.+?) and (.+)$", r"(\1) * (\2)"),
    (r"^(?:the )?difference (?:between|of) (.+?) and (.+)$", r"abs(\1 - (\2))"),
    (rf"^what (?:percent|percentage) of {_N} is {_N}$", r"\2 / \1 * 100"),
    (rf"^{_N} is what (?:percent|percentage) of {_N}$", r"\1 / \2 * 100"),
    (rf"^(.+) (?:plus|\+) {_N} ?(?:%|percent)$", r"(\1) * (1 + \2 / 100)"),
    (rf"^(.+) (?:minus|less|-) {_N} ?(?:%|percent)$", r"(\1) * (1 - \2 / 100)"),
    (rf"{_N} ?(?:%|percent) off(?: of)? (.+)", r"(\2) * (1 - \1 / 100)"),
    (rf"{_N} ?(?:%|percent) of ", r"\1 / 100 * "),
    (r"\b(\d+) and (?:a|1) half\b", r"(\1 + 0.5)"),
    (r"\b(?:(?:a|1) )?half (?:of )?(?=[\d(])", "0.5 * "),
    (r"\ba (?=(?:third|quarter|fifth|eighth|tenth)\b)|^(?=(?:third|quarter) of)", "1 "),
    (r"\b(\d+) (?:halves|half)\b", r"(\1 / 2)"),
    (r"\b(\d+) thirds?\b", r"(\1 / 3)"),
    (r"\b(\d+) (?:quarter|fourth)s?\b", r"(\1 / 4)"),
    (r"\b(\d+) fifths?\b", r"(\1 / 5)"),
    (r"\b(\d+) eighths?\b", r"(\1 / 8)"),
    (r"\b(\d+) tenths?\b", r"(\1 / 10)"),
    (r"\) of ", ") * "),
    (r"\b(?:double|twice) ", "2 * "),
    (r"\btriple ", "3 * "),
    (r" to the power (?:of )?| to the (?=\d)| \^ ?|\^", " ** "),
    (r"(?<=\*\* )(\d+)(?:st|nd|rd|th)(?: power)?", r"\1"),
    (r" squared\b", " ** 2"),
    (r" cubed\b", " ** 3"),
    (r" (?:multiplied (?:by|with)|times) | ?[x×·](?= ?\d) ?", " * "),  # noqa: RUF001 - as written
    (r" (?:divided by|over) | ?[÷:] ?", " / "),
    (r" (?:modulo|mod) ", " % "),
    (r"\b(?:minus|negative) ", " - "),
    (r" (?:less|take away|subtract) |(?<=[\d)]) ?[–−] ?", " - "),  # noqa: RUF001 - as written
    (r" (?:plus|and|added to) ", " + "),
    (r"(?<=[\d)]) by (?=[\d(])", " * "),
)
_EXPRESSION = re.compile(r"(?:[\d.+\-*/%() ]|sqrt|cbrt|factorial|abs)+")
_CALL = re.compile(r"\b(sqrt|cbrt|factorial) +((?:- *)?\d+(?:\.\d+)?)")
_HAS_OPERATOR = re.compile(r"[\d)] *[-+*/%]|sqrt|cbrt|factorial|abs")


class _Unanswerable(Exception):
    """An expression without a result; the message is the reply."""


def translate_expression(text: str) -> str | None:
    """Return spoken arithmetic in Python's grammar, None if `text` is none."""
    spoken = re.sub(r"[$€£]", "", text.lower()).strip(" =?")
    if len(text) > _MAX_CHARS or not any(number in spoken for number in NUMBER_FRAGMENTS):
        return None
    spoken = replace_number_words(spoken)
    spoken = re.sub(r"\bpoint (\d)", r"0.\1", _CURRENCY.sub("", spoken)).removeprefix("the ")
    spoken = " ".join(spoken.split())
    for pattern, replacement in _SPOKEN:
        spoken = re.sub(pattern, replacement, spoken)
    spoken = _CALL.sub(r"\1(\2)", spoken.strip())
    is_expression = _EXPRESSION.fullmatch(spoken) and _HAS_OPERATOR.search(spoken)
    return spoken if is_expression else None


def evaluate(expression: str) -> Number:
    """Return the value of an arithmetic expression, or raise with the reason in words."""
    try:
        value = _evaluate(ast.parse(expression, mode="eval").body)
    except ZeroDivisionError as error:
        raise _Unanswerable(_DIVIDED_BY_ZERO) from error
    except OverflowError as error:
        raise _Unanswerable(_TOO_LARGE) from error
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(expression) from error
    return value


def _evaluate(node: ast.expr) -> Number:
    if isinstance(node, ast.Constant) and type(node.value) in {int, float}:
        return _check(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _evaluate(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left), _evaluate(node.right)
        if isinstance(node.op, ast.Pow):
            return _raise_to_power(left, right)
        if type(node.op) in _OPERATORS:
            return _check(_OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
        return _call(node.func.id, _evaluate(node.args[0]))
    raise ValueError(ast.dump(node))


def _call(name: str, value: Number) -> Number:
    if name == "abs":
        return abs(value)
    if name == "factorial" and value > _MAX_FACTORIAL:
        raise _Unanswerable(_TOO_LARGE)
    if value < 0 and name != "cbrt":
        raise _Unanswerable(_NOT_REAL)
    return _check(_FUNCTIONS[name](value))


def _raise_to_power(base: Number, exponent: Number) -> Number:
    if abs(exponent) > _MAX_EXPONENT:
        raise _Unanswerable(_TOO_LARGE)
    value = base**exponent
    if isinstance(value, complex):
        raise _Unanswerable(_NOT_REAL)
    return _check(value)


def _check(value: Number) -> Number:
    if math.isnan(value):
        raise _Unanswerable(_NOT_REAL)
    if abs(value) > _MAX_VALUE:
        raise _Unanswerable(_TOO_LARGE)
    return value


def say_result(value: Number) -> str:
    """Return a number as people say it: at most three decimals, with "about" if rounded."""
    if isinstance(value, int) or abs(value) >= 10**15:
        return f"{int(value)}"
    rounded = round(value, 3)
    if math.isclose(value, rounded, rel_tol=1e-9, abs_tol=1e-12):
        return f"{rounded:.3f}".rstrip("0").rstrip(".").replace("-0", "0", int(rounded == 0))
    shown = round(value, 2) if abs(value) >= 1 else float(f"{value:.2g}")
    return f"about {shown:.10f}".rstrip("0").rstrip(".")


def calculate(call: SkillCall) -> str | None:
    """Return the reply to an expression; None if it is no arithmetic."""
    said = call.slots["expression"]
    expression = translate_expression(said)
    if expression is None:
        return None
    unit = next((name for sign, name in _CURRENCIES.items() if sign in said), "")
    if not unit and (match := _CURRENCY.search(said.lower())):
        unit = match[0] if match[0].endswith(("s", "e")) else f"{match[0]}s"
    try:
        value = evaluate(expression)
    except ValueError:
        return None
    percent = " percent" if re.search(r"\bwhat percent", said.lower()) else ""
    return f"That's {say_result(value)}{percent}{f' {unit}' if unit and not percent else ''}."


def tell_tip(call: SkillCall) -> str:
    amount, percent = call.slots["amount"], call.slots.get("percent", 15)
    tip = amount * percent / 100
    return (
        f"A {say_result(percent)} percent tip on {say_result(amount)} is {_say_money(tip)}, "
        f"{_say_money(amount + tip)} in all."
    )


def split_amount(call: SkillCall) -> str:
    people = call.slots["people"]
    if people < 1 or people != int(people):
        return "I can only split it between whole people."
    return f"That's {_say_money(call.slots['amount'] / people)} each."


def _say_money(value: Number) -> str:
    rounded = round(value, 2)
    about = "" if math.isclose(value, rounded, abs_tol=1e-9) else "about "
    return about + (f"{rounded:.0f}" if rounded == int(rounded) else f"{rounded:.2f}")


_ANSWERS: Mapping[str, Callable[[SkillCall], str | None]] = {
    "calculate": calculate,
    "tip": tell_tip,
    "split_bill": split_amount,
}


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    try:
        text = _ANSWERS[call.intent](call)
    except _Unanswerable as error:
        return SkillReply(str(error))
    return None if text is None else SkillReply(text)


SKILL = Skill(
    "arithmetic",
    (
        SkillIntent(
            "calculate",
            "calculate something",
            (
                "what is {expression}",
                "what (does|do) {expression} (make|equal|equals|come to)",
                "what (is|are) the {expression}",
                "how much (is|are|does) {expression} [make]",
                "(calculate|compute|work out|figure out|solve) {expression}",
                "{expression}",
            ),
            {
                "expression": Slot(
                    description="arithmetic, like '20 percent of 84' or '3 * (4 + 5)'"
                )
            },
        ),
        SkillIntent(
            "tip",
            "work out a tip",
            (
                (
                    "(what is|how much is|calculate) [(a|an|the)] [{percent}] [%|percent] tip "
                    "(on|for|of) [$|€|£]{amount} [dollars|euros|pounds]"
                ),
                "{percent} [%|percent] tip (on|for|of) [$|€|£]{amount} [dollars|euros|pounds]",
                (
                    "how much [should i|do i|would you] tip (on|for) [$|€|£]{amount} "
                    "[dollars|euros|pounds]"
                ),
            ),
            {
                "amount": Slot("number", "the bill"),
                "percent": Slot("number", "15 if none is given", is_required=False),
            },
        ),
        SkillIntent(
            "split_bill",
            "split an amount between people",
            (
                (
                    "(split|divide|share) [a] [bill] [of] [$|€|£]{amount} [dollars|euros|pounds] "
                    "(by|between|among|amongst|into|for|with) {people} [people|persons|of us|ways]"
                ),
                "(split|divide|share) [$|€|£]{amount} [dollars|euros|pounds] {people} ways",
            ),
            {"amount": Slot("number", "the amount"), "people": Slot("number", "how many people")},
        ),
    ),
    handle,
)
