"""Command processing: from one utterance to one reply.

The attempts, in this order:

    "remember that …"                      -> store the fact
    answer to a clarifying question        -> the intent that was asked about
    intent, confidence ACCEPT              -> home, local reply, facts or language model
    intent, confidence ASK                 -> Home Assistant if it knows it, else ask back
    no intent                              -> facts, Home Assistant, language model

Side effects go through `interfaces`. A failed dependency is named in `degraded` and in the reply.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from barnabee.core.errors import Unavailable
from barnabee.understanding import facts, local_replies
from barnabee.understanding.intent_recognizer import IntentRecognizer
from barnabee.understanding.intents import ConfidenceBand, IntentDecision, clean_utterance
from barnabee.understanding.interfaces import (
    FactMemory,
    HomeAgent,
    HomeAnswer,
    LanguageModel,
    PastExchange,
    Vectors,
)


@dataclass(frozen=True)
class CommandServices:
    """Services that commands use; None if not configured."""

    recognizer: IntentRecognizer
    memory: FactMemory
    home: HomeAgent | None
    llm: LanguageModel | None
    now: Callable[[], datetime]
    recall_threshold: float


@dataclass(slots=True)
class CommandOutcome:
    """Result of a command.

    `stored_intent` is the intent for the conversation's history. After `acted` something may have
    changed, so the command must not be repeated. `code` is the error code of a failure.
    """

    reply: str = ""
    intent: str = "none"
    stored_intent: str = ""
    band: ConfidenceBand = ConfidenceBand.ACCEPT
    acted: bool = False
    code: str | None = None
    actions: list[dict[str, Any]] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    latency_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of the block to the latency of stage `name`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            duration_ms = (time.perf_counter() - begun) * 1000
            self.latency_ms[name] = round(self.latency_ms.get(name, 0.0) + duration_ms, 3)

    def add_degraded(self, dependency: str) -> None:
        """Record that a dependency was needed and failed."""
        if dependency not in self.degraded:
            self.degraded.append(dependency)


async def process_command(
    utterance: str,
    services: CommandServices,
    *,
    history: Sequence[PastExchange] = (),
    session_id: str | None = None,
    speaker: str | None = None,
) -> CommandOutcome:
    """Process `utterance`; failures of dependencies become part of the outcome."""
    text = clean_utterance(utterance)
    return await _Command(services, history, session_id, speaker, text).run()


class _Command:
    """State of one command while it is processed; `outcome` is filled step by step."""

    def __init__(
        self,
        services: CommandServices,
        history: Sequence[PastExchange],
        session_id: str | None,
        speaker: str | None,
        text: str,
    ) -> None:
        self.services = services
        self.history = history
        self.session_id = session_id
        self.speaker = speaker
        self.text = text
        self.vector: Vectors | None = None
        self.outcome = CommandOutcome()

    async def run(self) -> CommandOutcome:
        fact = facts.extract_fact(self.text)
        clarified = local_replies.resolve_answer(self.text, self.history)
        if fact is not None:
            await self._remember(fact)
        elif clarified is not None:
            self.text = clean_utterance(clarified.utterance)
            await self._handle_intent(clarified.intent)
        else:
            await self._recognize()
        self.outcome.stored_intent = self.outcome.stored_intent or self.outcome.intent
        return self.outcome

    async def _recognize(self) -> None:
        with self.outcome.stage("intent"):
            recognition = await self.services.recognizer.recognize(self.text)
        if recognition.degraded:
            self.outcome.add_degraded("gpu")
        self.vector = recognition.vector
        decision = recognition.decision
        self.outcome.band = decision.band
        handler = self.services.recognizer.intents[decision.intent].handler
        if decision.band is ConfidenceBand.ACCEPT:
            await self._handle_intent(decision.intent)
        elif facts.is_recall_question(self.text):
            await self._handle_intent("recall")
        elif decision.band is ConfidenceBand.ASK and handler != "llm":
            await self._clarify(decision, handler)
        else:
            await self._converse()

    async def _handle_intent(self, intent: str) -> None:
        self.outcome.intent = intent
        handler = self.services.recognizer.intents[intent].handler
        if facts.is_recall_question(self.text) and handler != "local":
            self.outcome.intent = "recall"
            await self._recall()
        elif handler == "home":
            await self._control_home()
        elif handler == "llm":
            if not await self._answer_from_facts():
                await self._ask_model()
        elif intent == "recall":
            await self._recall()
        else:
            with_model = self.services.llm is not None
            self.outcome.reply = local_replies.answer_locally(
                intent, self.services.now(), self.text, self.history, with_model=with_model
            )

    async def _control_home(self) -> None:
        """Pass the sentence to Home Assistant; if it has no intent for it, treat it as chat."""
        answer = await self._ask_home_assistant()
        if answer is None:
            return
        if answer.code == "no_intent_match" and (
            await self._answer_from_facts()
            or (self.services.llm is not None and await self._ask_model())
        ):
            return
        self._use_home_answer(answer)

    async def _clarify(self, decision: IntentDecision, handler: str) -> None:
        """Ask back, unless Home Assistant knows the sentence or a fact answers it."""
        if handler == "home" and self.services.home is not None:
            answer = await self._ask_home_assistant()
            if answer is None or answer.code != "no_intent_match":
                self.outcome.intent = decision.intent
                if answer is not None:
                    self._use_home_answer(answer)
                return
        if await self._answer_from_facts():
            return
        self.outcome.intent = local_replies.UNSURE
        self.outcome.stored_intent = local_replies.encode_question(decision)
        self.outcome.reply = local_replies.ask_clarification(
            decision, self.services.recognizer.intents
        )

    async def _converse(self) -> None:
        """Handle a sentence without an intent: facts, Home Assistant, language model."""
        if await self._answer_from_facts():
            return
        if self.services.home is not None and await self._try_home_assistant():
            return
        self.outcome.intent = "chat"
        await self._ask_model()

    async def _try_home_assistant(self) -> bool:
        """Return whether Home Assistant has handled the sentence, or may have."""
        answer = await self._ask_home_assistant(required=False)
        if answer is None:
            return self.outcome.acted  # the connection was lost after the request was sent
        if answer.kind == "error":
            return False
        self.outcome.intent = "home_control" if answer.kind == "action_done" else "home_query"
        self._use_home_answer(answer)
        return True

    async def _ask_home_assistant(self, *, required: bool = True) -> HomeAnswer | None:
        """Return Home Assistant's answer; without one set the failure and return None."""
        if self.services.home is None:
            self._fail("home_assistant", "not_configured")
            return None
        try:
            with self.outcome.stage("home"):
                return await self.services.home.converse(self.text, conversation_id=self.session_id)
        except Unavailable as error:
            code = local_replies.get_failure_code(error)
            self.outcome.acted = self.outcome.acted or code in {"dropped", "timed_out"}
            if required or self.outcome.acted:
                self._fail("home_assistant", code)
            return None

    def _use_home_answer(self, answer: HomeAnswer) -> None:
        self.outcome.actions = [dict(action) for action in answer.actions]
        self.outcome.acted = answer.kind == "action_done"
        self.outcome.code = answer.code
        if answer.kind == "error" and (answer.code == "no_intent_match" or not answer.speech):
            self.outcome.reply = local_replies.get_failure_phrase(
                "home_assistant", answer.code or "failed_to_handle"
            )
        else:
            self.outcome.reply = answer.speech or "Done."

    async def _remember(self, fact: str) -> None:
        self.outcome.intent = "remember"
        with self.outcome.stage("intent"):
            vector = await self.services.recognizer.embed(fact)
        if vector is None:
            self.outcome.add_degraded("gpu")
        try:
            with self.outcome.stage("memory"):
                degraded = await self.services.memory.remember(fact, vector, self.speaker)
        except Unavailable:
            self._fail("database", "dependency_down", spoken_as="memory")
            return
        for dependency in degraded:
            self.outcome.add_degraded(dependency)
        self.outcome.acted = True
        self.outcome.actions = [{"type": "remembered", "name": fact}]
        self.outcome.reply = local_replies.confirm_fact(fact)

    async def _recall(self) -> None:
        if not await self._answer_from_facts() and self.outcome.code is None:
            self.outcome.reply = local_replies.NOT_TOLD

    async def _answer_from_facts(self) -> bool:
        """Reply with the fact that answers the sentence; False if there is none."""
        try:
            with self.outcome.stage("memory"):
                known_facts = await self.services.memory.facts()
        except Unavailable:
            if self.outcome.intent == "recall":
                self._fail("database", "unreadable", spoken_as="memory")
            return False
        min_score = self.services.recall_threshold
        fact = facts.find_fact(self.text, self.vector, known_facts, min_score=min_score)
        if fact is None:
            return False
        self.outcome.intent = "recall"
        self.outcome.reply = local_replies.quote_fact(fact.text)
        return True

    async def _ask_model(self) -> bool:
        """Reply with the language model's answer; set the failure and return False without one."""
        if self.services.llm is None:
            self._fail("llm", "not_configured")
            return False
        try:
            with self.outcome.stage("llm"):
                answer = await self.services.llm.answer(self.text, self.history)
        except Unavailable as error:
            self._fail("llm", error.code)
            return False
        self.outcome.latency_ms["llm_first_token"] = round(answer.first_token_ms, 3)
        self.outcome.reply = answer.text or local_replies.get_failure_phrase("llm", "empty")
        self.outcome.intent = "chat"
        return True

    def _fail(self, dependency: str, code: str, *, spoken_as: str | None = None) -> None:
        self.outcome.add_degraded(dependency)
        self.outcome.code = code
        self.outcome.reply = local_replies.get_failure_phrase(spoken_as or dependency, code)
