"""Home control: from a sentence to what was really done.

Our own recognizer makes a plan first, and asks before a lock or a gate moves. Then Home Assistant's
conversation agent gets the sentences that it may know, because a family may have taught it others
for them, and the plan's services are called where it does not understand. States are read
afterwards: what did not happen is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol, runtime_checkable

from barnabee.core.errors import HomeRefused
from barnabee.understanding import home_questions, home_report
from barnabee.understanding.home_answers import QUESTIONS, answer_question, asks_unknown_place
from barnabee.understanding.home_plan import Plan, Step, is_guarded, make_plan
from barnabee.understanding.home_recognizer import HomeRecognizer, HomeRequest, fold_sentence
from barnabee.understanding.home_report import list_undo, make_undo_plan
from barnabee.understanding.home_targets import Targets, find_targets
from barnabee.understanding.interfaces import Home, HomeAnswer, HomeControl
from barnabee.understanding.skill import Question, SkillContext, SkillReply
from barnabee.understanding.words import fold_name

SETTLE_S = 1.5  # a lamp that reports later is said to be slow
NOTHING_TO_UNDO = "There is nothing that I could undo."
_QUESTION_WORDS = frozenset(
    {"is", "are", "was", "were", "did", "does", "do", "has", "have", "what", "whats", "which"}
    | {"who", "whos", "where", "wheres", "when", "how", "hows", "why"}
)


@runtime_checkable
class ObservableHome(Protocol):
    """A home whose changes can be waited for."""

    async def wait_until(self, is_reached: Callable[[Home], bool], timeout_s: float) -> Home:
        """Return the home when `is_reached`, at the latest after `timeout_s`."""
        ...


class HomeController:
    """Carries sentences about the home out. Errors of the home are raised."""

    def __init__(self, home: HomeControl, *, settle_s: float = SETTLE_S) -> None:
        """`settle_s` is how long a device may take until it has the expected state."""
        self._home = home
        self._settle_s = settle_s
        self._recognizer: HomeRecognizer | None = None

    async def handle(self, text: str, context: SkillContext) -> SkillReply | None:
        """Carry `text` out; None if it is no sentence about the home."""
        home = await self._home.read_home()
        request = self._recognize(text, home)
        if request is None:
            return await self._converse(text, home, context)
        if request.intent == "Undo":
            return await self._undo(home, context)
        if asks_unknown_place(home, request):
            return None
        return await self._carry_out(home, request, context, text)

    async def answer(
        self, question: Question, text: str, context: SkillContext
    ) -> SkillReply | None:
        """Go on after a question; None if `text` is no answer to it."""
        home = await self._home.read_home()
        answered = home_questions.read_answer(question, text, home, context.now)
        if answered is None or isinstance(answered, SkillReply):
            return answered
        if answered.intent == "Undo":
            return await self._run(home, make_undo_plan(home, answered.slots["calls"]), Targets(()))
        is_confirmed = question.data["kind"] == home_questions.CONFIRM
        return await self._carry_out(home, answered, context, is_confirmed=is_confirmed)

    def _recognize(self, text: str, home: Home) -> HomeRequest | None:
        if self._recognizer is None or not self._recognizer.knows(home):
            self._recognizer = HomeRecognizer(home)
            self._recognize_again = lru_cache(maxsize=512)(self._recognizer.recognize)
        return self._recognize_again(text)

    async def _carry_out(
        self,
        home: Home,
        request: HomeRequest,
        context: SkillContext,
        text: str | None = None,
        *,
        is_confirmed: bool = False,
    ) -> SkillReply | None:
        """Answer or do what is asked; `text` is the sentence that Home Assistant may get."""
        if request.intent in QUESTIONS:
            return self._answer_question(home, request, context)
        found = find_targets(home, request, context.room)
        if not isinstance(found, Targets):
            return home_questions.explain(home, request, found, context.now)
        plan = make_plan(home, request, found)
        if plan.is_guarded and not is_confirmed:
            return home_questions.ask_confirmation(home, request, plan, context.now)
        reply = None
        if text is not None and found.is_named and len(plan.steps) == 1 and request.is_common:
            reply = await self._try_agent(home, plan, found, text, context)
        return reply or await self._run(home, plan, found)

    def _answer_question(
        self, home: Home, request: HomeRequest, context: SkillContext
    ) -> SkillReply:
        answered = answer_question(home, request, context.room)
        if not isinstance(answered, tuple):
            return home_questions.explain(home, request, answered, context.now)
        text, entities = answered
        return SkillReply(text, targets=tuple(one.entity_id for one in entities))

    # ---- Home Assistant's conversation agent -----------------------------------------------------

    async def _converse(self, text: str, home: Home, context: SkillContext) -> SkillReply | None:
        """Let Home Assistant try what our own recognizer does not know."""
        if _could_open(home, text):
            return None
        free = tuple(one for one, entity in home.entities.items() if not is_guarded(entity))
        answer = await self._ask_agent(text, context, only=free)
        return None if answer is None else self._use_answer(answer, home)

    async def _try_agent(
        self, home: Home, plan: Plan, targets: Targets, text: str, context: SkillContext
    ) -> SkillReply | None:
        """Let Home Assistant carry out a plan of one step; None if it did not."""
        step = plan.steps[0]
        answer = await self._ask_agent(text, context, only=(step.entity_id,))
        if answer is None:
            return None
        if step.entity_id not in {action["id"] for action in answer.actions}:
            return self._use_answer(answer, home)  # a sentence that the family taught it
        after = await self._home.read_home()
        entity = after.entities.get(step.entity_id)
        if entity is None or not step.expected.is_met(entity):
            return None
        return home_report.report_changes(after, plan, targets, undo=list_undo(home, [step]))

    async def _ask_agent(
        self, text: str, context: SkillContext, only: Sequence[str] | None = None
    ) -> HomeAnswer | None:
        """Return the answer of the agent, None if it does not understand; its guess is none."""
        answer = await self._home.converse(
            text, conversation_id=context.session_id, room=context.room, only=only
        )
        return None if answer.kind == "error" else answer

    def _use_answer(self, answer: HomeAnswer, home: Home) -> SkillReply:
        ids = tuple(one["id"] for one in answer.actions if one["id"] in home.entities)
        away = [home.entities[one] for one in ids if home.entities[one].state == "unavailable"]
        if away and len(away) == len(ids):
            return home_report.report_unavailable(away)
        return SkillReply(
            answer.speech or "Okay.",
            acted=answer.kind == "action_done",
            actions=tuple(dict(action) for action in answer.actions),
            targets=ids,
        )

    # ---- services -------------------------------------------------------------------------------

    async def _run(self, home: Home, plan: Plan, targets: Targets) -> SkillReply:
        """Call the services of the plan, those of a group only where something is to change."""
        missing = [
            step
            for step in plan.steps
            if targets.is_named or not home_report.is_there_already(home, step)
        ]
        reasons = await self._call_all(missing)
        return await self._report(home, plan, targets, reasons, missing)

    async def _call_all(self, steps: Sequence[Step]) -> dict[str, str]:
        """Return the reasons of the entities that Home Assistant refused to change."""
        groups: dict[tuple[str, str], list[Step]] = {}
        for step in steps:
            groups.setdefault((step.service, repr(step.data)), []).append(step)
        reasons: dict[str, str] = {}
        for group in groups.values():
            refused = await self._call(group)
            if refused is None:
                continue
            if len(group) == 1:
                reasons[group[0].entity_id] = refused
                continue
            for step in group:  # one broken lamp must not keep the others from changing
                refused = await self._call([step])
                if refused is not None:
                    reasons[step.entity_id] = refused
        return reasons

    async def _call(self, steps: Sequence[Step]) -> str | None:
        """Call one service; return why Home Assistant refused it. A slow device is not awaited."""
        ids, first = [step.entity_id for step in steps], steps[0]
        try:
            async with asyncio.timeout(self._settle_s):
                await self._home.call_service(first.service, ids, first.data)
        except TimeoutError:
            return None
        except HomeRefused as error:
            return str(error.fields.get("reason", "")) or "it was refused"
        return None

    async def _report(
        self,
        before: Home,
        plan: Plan,
        targets: Targets,
        reasons: Mapping[str, str],
        called: Sequence[Step],
    ) -> SkillReply:
        steps = [step for step in plan.steps if step.entity_id not in reasons]

        def is_reached(home: Home) -> bool:
            return all(
                step.expected.is_met(home.entities[step.entity_id])
                for step in steps
                if step.entity_id in home.entities
            )

        if isinstance(self._home, ObservableHome):
            after = await self._home.wait_until(is_reached, self._settle_s)
        else:
            after = await self._home.read_home()
        return home_report.report_changes(
            after, plan, targets, reasons, list_undo(before, called), is_old=not called
        )

    async def _undo(self, home: Home, context: SkillContext) -> SkillReply:
        for exchange in reversed(context.history):
            calls = exchange.context.get("undo")
            if not calls:
                continue
            plan = make_undo_plan(home, calls)
            if plan.is_guarded:
                request = HomeRequest("Undo", {"calls": list(calls)})
                return home_questions.ask_confirmation(home, request, plan, context.now)
            return await self._run(home, plan, Targets((), is_named=True))
        return SkillReply(NOTHING_TO_UNDO)


def _could_open(home: Home, text: str) -> bool:
    """Return whether Home Assistant might open the home by a sentence we do not know."""
    words = fold_sentence(text).split()
    if not words or words[0] in _QUESTION_WORDS:
        return False
    if {"unlock", "disarm"} & set(words):
        return True
    said = f" {' '.join(words)} "
    guarded = (entity for entity in home.entities.values() if is_guarded(entity))
    return any(f" {fold_name(name)} " in said for entity in guarded for name in entity.names)
