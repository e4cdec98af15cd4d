"""Command processing: from one utterance to one reply.

An open question gets the sentence first. Else each of its clauses is tried in this order:

    the sentences of the skills
    home control: Home Assistant, then the recognizer of our own
    the intent of the nearest example
    the language model, or else one sentence that says what cannot be done

Side effects go through `interfaces`. A failed dependency is named in `degraded` and in the reply.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from barnabee.core.errors import BarnabeeError, Unavailable
from barnabee.understanding import questions
from barnabee.understanding.command_context import (
    CommandOutcome,
    CommandServices,
    CommandSource,
    read_question,
)
from barnabee.understanding.ellipsis import (
    LastCommand,
    find_last_command,
    follow_command,
    resolve_references,
)
from barnabee.understanding.entity_lookup import describe_failure, get_failure_phrase, name_room
from barnabee.understanding.intent_recognizer import ConfidenceBand, IntentDecision
from barnabee.understanding.interfaces import Home, HomeControl, SentenceSink
from barnabee.understanding.model_turn import ask_model
from barnabee.understanding.skill import Question, SkillCall, SkillContext, SkillReply
from barnabee.understanding.utterance import clean_utterance, normalise
from barnabee.understanding.words import HOME_VERBS, first_word

HOME = "home"  # in the place of a skill's name in `Question`
HOME_CONTROL, HOME_QUERY, CHAT, RECALL = "home_control", "home_query", "chat", "recall"
HOME_ASSISTANT = "home_assistant"  # the name of the dependency
ONE_QUESTION = "Please answer that first, then tell me the rest again."
_ASKED_OF_NOTES = frozenset({"what", "what's", "where", "where's", "when", "when's", "who"})
_HARMLESS = frozenset({"greeting", "thanks", "goodbye"})
_SMALL_TALK = "smalltalk"  # the skill whose sentences no follow-up refers to


async def process_command(
    utterance: str,
    services: CommandServices,
    source: CommandSource | None = None,
    *,
    emit: SentenceSink | None = None,
) -> CommandOutcome:
    """Process `utterance`; failures of dependencies become part of the outcome.

    `emit` receives sentences of a reply that takes long, before the outcome is complete.
    """
    source = source or CommandSource()
    home = await _read_home(services.home)
    context = SkillContext(
        now=services.now(home.time_zone if home else None),
        room=name_room(home, source.room),
        speaker=source.speaker,
        history=source.history,
        memory=services.memory,
        embedder=services.recognizer.embedder,
        home=services.home,
        schedule=services.schedule,
        announcer=services.announcer,
        session_id=source.session_id,
    )
    return await _Command(services, context, home, emit).run(utterance)


async def _read_home(home: HomeControl | None) -> Home | None:
    try:
        return await home.read_home() if home is not None else None
    except Unavailable:
        return None


@dataclass(frozen=True, slots=True)
class _Found:
    """The reply to one clause; `is_referable`: a follow-up may refer to the clause."""

    intent: str
    reply: SkillReply
    is_referable: bool = True


class _Command:
    """State of one command while it is processed; `outcome` is filled clause by clause."""

    def __init__(
        self,
        services: CommandServices,
        context: SkillContext,
        home: Home | None,
        emit: SentenceSink | None,
    ) -> None:
        self.services, self.context, self.home = services, context, home
        self.emit = emit
        self.has_emitted = False
        self.failure: _Found | None = None
        self.outcome = CommandOutcome()
        self.last: LastCommand | None = find_last_command(context.history, home)

    async def run(self, utterance: str) -> CommandOutcome:
        if not await self._answer_question(utterance):
            for clause in normalise(utterance, _list_names(self.home)):
                await self._handle_clause(clause)
        return self.outcome

    async def _answer_question(self, utterance: str) -> bool:
        """Return whether the sentence answers the question of the last exchange."""
        history = self.context.history
        question = read_question(history[-1].context) if history else None
        if question is None:
            return False
        found = await self._find_answer(question, clean_utterance(utterance))
        if found is None:
            return False
        asked_about = str(history[-1].context.get("text", "")) or None
        self._add(found, asked_about)
        return True

    async def _find_answer(self, question: Question, text: str) -> _Found | None:
        if question.skill == questions.CLARIFICATION:
            clarified = questions.resolve_answer(text, question)
            if clarified is None:
                return None
            return await self._call_intent(clarified.intent, clarified.utterance) or self.failure
        if question.skill == HOME and self.services.home_controller is not None:
            controller = self.services.home_controller
            reply = await self._guard(
                "home", lambda: controller.answer(question, text, self.context)
            )
            return _Found(HOME_CONTROL, reply) if reply else None
        skill = self.services.find_skill(question.skill)
        answer = skill.answer if skill is not None else None
        if answer is None:
            return None
        reply = await self._guard("skill", lambda: answer(question, text, self.context))
        return _Found(question.skill, reply) if reply else None

    async def _handle_clause(self, clause: str) -> None:
        text = resolve_references(clause, self.last)
        parts = (clause,) if text == clause else normalise(text, _list_names(self.home))
        for part in parts:
            self.failure = None
            found = await self._find_reply(part)
            if found.reply.question is not None and self.outcome.has_question():
                found = replace(found, reply=SkillReply(ONE_QUESTION))
            await self._emit(found)
            self._add(found, part if found.is_referable else None)

    def _add(self, found: _Found, text: str | None) -> None:
        self.outcome.add_reply(found.intent, found.reply, text)
        if text is not None:
            targets = {"text": text, "targets": found.reply.targets}
            self.last = follow_command(self.last, targets, self.home)

    async def _emit(self, found: _Found) -> None:
        """Pass on a reply that follows a streamed one."""
        if self.emit is not None and self.has_emitted and found.intent != CHAT:
            await self.emit(found.reply.text)

    async def _find_reply(self, text: str) -> _Found:
        for find in (self._find_skill, self._find_home, self._find_intent):
            found = await find(text)
            if found is not None:
                return found
        return await self._converse(text)

    async def _find_skill(self, text: str) -> _Found | None:
        with self.outcome.stage("intent"):
            calls = self.services.matcher.match(text, self.context.now)
        for call in calls:
            found = await self._call_skill(call)
            if found is not None:
                return found
        return None

    async def _call_skill(self, call: SkillCall) -> _Found | None:
        skill = self.services.skill_by_intent[call.intent]
        reply = await self._guard("skill", lambda: skill.handle(call, self.context))
        if reply is None:
            return None
        return self._check(_Found(call.intent, reply, skill.name != _SMALL_TALK))

    async def _find_home(self, text: str) -> _Found | None:
        controller = self.services.home_controller
        if controller is None:
            return None
        reply = await self._guard("home", lambda: controller.handle(text, self.context))
        if reply is None:
            return None
        is_control = reply.acted or reply.code is not None or reply.question is not None
        return self._check(_Found(HOME_CONTROL if is_control else HOME_QUERY, reply))

    def _check(self, found: _Found) -> _Found | None:
        """Put off the failure of a dependency: the sentence may have been for something else."""
        if found.reply.acted or not found.reply.degraded or found.reply.code is None:
            return found
        self.failure = self.failure or found
        return None

    async def _find_intent(self, text: str) -> _Found | None:
        with self.outcome.stage("intent"):
            recognition = await self.services.recognizer.recognize(text)
        if recognition.degraded:
            self.outcome.add_degraded("gpu")
        decision = self.outcome.band = recognition.decision.band
        intents = self.services.recognizer.intents
        handler = intents[recognition.decision.intent].handler
        if decision is ConfidenceBand.ACCEPT and handler == "skill":
            found = await self._call_intent(recognition.decision.intent, text)
            return found or self.failure
        if decision is not ConfidenceBand.NONE and handler == "home":
            is_refused = self.failure is not None or self.services.llm is None
            return self._refuse_home() if is_refused else None
        if self.services.llm is not None:
            return None
        if decision is ConfidenceBand.ASK and handler == "skill" and len(text.split()) > 1:
            return await self._handle_doubt(text, recognition.decision)
        return None

    async def _handle_doubt(self, text: str, decision: IntentDecision) -> _Found | None:
        """Ask back, except where an answer does no harm or "Okay" would be no true answer."""
        is_note = decision.intent == RECALL and first_word(text) in _ASKED_OF_NOTES
        if is_note or decision.intent in _HARMLESS:
            return await self._call_intent(decision.intent, text)
        return None if decision.intent == questions.CANCEL else self._clarify(text, decision)

    async def _call_intent(self, intent: str, text: str) -> _Found | None:
        """Carry out the skill's intent of this name, without slots."""
        if self.services.find_intent(intent) is None:
            return None
        return await self._call_skill(SkillCall(intent, {}, text))

    def _clarify(self, text: str, decision: IntentDecision) -> _Found:
        question = questions.ask_clarification(decision, self.services.recognizer.intents)
        asked = SkillReply(question, question=questions.make_question(text, decision))
        return _Found(questions.UNSURE, asked, is_referable=False)

    def _refuse_home(self) -> _Found:
        if self.failure is not None:
            return self.failure
        code = "not_configured" if self.services.home is None else "no_intent_match"
        phrase = get_failure_phrase(HOME_ASSISTANT, code)
        degraded = (HOME_ASSISTANT,) if self.services.home is None else ()
        return _Found(HOME_CONTROL, SkillReply(phrase, code=code, degraded=degraded))

    async def _converse(self, text: str) -> _Found:
        model = self.services.llm
        if model is None and self.outcome.band is ConfidenceBand.NONE:
            if self.failure is not None:
                return self.failure
            if first_word(text) in HOME_VERBS:
                return self._refuse_home()
        if model is None:
            phrase = get_failure_phrase("llm", "not_configured")
            refusal = SkillReply(phrase, code="not_configured", degraded=("llm",))
            return _Found(CHAT, refusal, is_referable=False)
        if self.emit is not None:
            if self.outcome.reply and not self.has_emitted:
                await self.emit(self.outcome.reply)
            self.has_emitted = True
        reply = await self._guard(
            "llm",
            lambda: ask_model(
                model,
                text,
                self.context,
                self.services.skills,
                self.services.home_controller,
                self.emit,
            ),
        )
        empty = SkillReply(get_failure_phrase("llm", "empty"))
        return _Found(CHAT, reply if reply and reply.text else empty, is_referable=False)

    async def _guard(
        self, stage: str, run: Callable[[], Awaitable[SkillReply | None]]
    ) -> SkillReply | None:
        """Return the reply of `run`; an error becomes a reply with its reason."""
        try:
            with self.outcome.stage(stage):
                return await run()
        except BarnabeeError as error:
            return describe_failure(error)


def _list_names(home: Home | None) -> list[str]:
    if home is None:
        return []
    things = [name for entity in home.entities.values() for name in entity.names]
    return things + [name for area in home.areas.values() for name in area.names]
