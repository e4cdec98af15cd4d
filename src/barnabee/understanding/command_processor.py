"""One utterance becomes one reply: the order in which things are tried.

    begins like "remember that …"          -> written down
    answers a question we asked back       -> what it was about
    an intent, surely                      -> the house, a local answer, memory, the language model
    perhaps an intent                      -> the house may know; otherwise ask back
    nothing known                          -> the house, what was told, the language model

Every side effect goes through a seam of `ports`; what is missing is named in `degraded` and said
aloud. Knows no HTTP, no Redis, no SQL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from barnabee.core.errors import Unavailable
from barnabee.understanding import clarification, facts, failure_phrases, local_answers
from barnabee.understanding.intent_examples import tidy
from barnabee.understanding.intent_index import Band, Decision
from barnabee.understanding.intent_recognizer import Understanding
from barnabee.understanding.interfaces import Home, HomeAnswer, LanguageModel, Memory, Said, Vectors


@dataclass(frozen=True)
class Parts:
    """What a command may use; a None is something this house does not have."""

    understanding: Understanding
    memory: Memory
    home: Home | None
    llm: LanguageModel | None
    now: Callable[[], datetime]
    recall_at_least: float


@dataclass(slots=True)
class Outcome:
    """What came of an utterance.

    `kept_as` is the intent as the conversation keeps it; `acted` says that something outside may
    have changed, so that the command must not simply be tried again; `code` is the failure, if any.
    """

    reply: str = ""
    intent: str = "none"
    kept_as: str = ""
    band: Band = Band.ACCEPT
    acted: bool = False
    code: str | None = None
    actions: list[dict[str, Any]] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    latency_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is inside as `name`; twice the same name adds up."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - begun) * 1000
            self.latency_ms[name] = round(self.latency_ms.get(name, 0.0) + spent, 3)

    def missing(self, dependency: str) -> None:
        """Name something that was needed and not there."""
        if dependency not in self.degraded:
            self.degraded.append(dependency)


async def process(
    utterance: str,
    parts: Parts,
    *,
    history: Sequence[Said] = (),
    session_id: str | None = None,
    speaker: str | None = None,
) -> Outcome:
    """Return what came of `utterance`; never raises for want of a dependency."""
    return await _Command(parts, history, session_id, speaker, tidy(utterance)).run()


class _Command:
    """One utterance on its way; `out` fills up as it goes."""

    def __init__(
        self,
        parts: Parts,
        history: Sequence[Said],
        session_id: str | None,
        speaker: str | None,
        text: str,
    ) -> None:
        self.parts = parts
        self.history = history
        self.session_id = session_id
        self.speaker = speaker
        self.text = text
        self.vector: Vectors | None = None
        self.out = Outcome()

    async def run(self) -> Outcome:
        fact = facts.told(self.text)
        cleared = clarification.cleared(self.text, self.history)
        if fact is not None:
            await self._remember(fact)
        elif cleared is not None:
            self.text = tidy(cleared.utterance)
            await self._take(cleared.intent)
        else:
            await self._decide()
        self.out.kept_as = self.out.kept_as or self.out.intent
        return self.out

    async def _decide(self) -> None:
        with self.out.stage("intent"):
            understood = await self.parts.understanding.understand(self.text)
        if understood.degraded:
            self.out.missing("gpu")
        self.vector = understood.vector
        decision = understood.decision
        self.out.band = decision.band
        to = self.parts.understanding.known[decision.intent].to
        if decision.band is Band.ACCEPT:
            await self._take(decision.intent)
        elif facts.asked(self.text):
            await self._take("recall")
        elif decision.band is Band.ASK and to != "llm":
            await self._unsure(decision, to)
        else:
            await self._converse()

    async def _take(self, intent: str) -> None:
        self.out.intent = intent
        to = self.parts.understanding.known[intent].to
        if facts.asked(self.text) and to != "local":
            self.out.intent = "recall"
            await self._recall()
        elif to == "home":
            await self._control()
        elif to == "llm":
            if not await self._recalled():
                await self._ask_model()
        elif intent == "recall":
            await self._recall()
        else:
            with_model = self.parts.llm is not None
            self.out.reply = local_answers.local(
                intent, self.parts.now(), self.text, self.history, with_model=with_model
            )

    async def _control(self) -> None:
        """Give the sentence to the house; what it does not know goes on to conversation."""
        answer = await self._house()
        if answer is None:
            return
        if answer.code == "no_intent_match" and (
            await self._recalled() or (self.parts.llm is not None and await self._ask_model())
        ):
            return
        self._say(answer)

    async def _unsure(self, decision: Decision, to: str) -> None:
        """Ask back, unless the house knows the sentence or the answer was told before."""
        if to == "home" and self.parts.home is not None:
            answer = await self._house()
            if answer is None or answer.code != "no_intent_match":
                self.out.intent = decision.intent
                if answer is not None:
                    self._say(answer)
                return
        if await self._recalled():
            return
        self.out.intent = clarification.UNSURE
        self.out.kept_as = clarification.asked(decision)
        self.out.reply = local_answers.unsure(decision, self.parts.understanding.known)

    async def _converse(self) -> None:
        """Answer what no example is near to: the house's own sentences, facts, the model."""
        if await self._recalled():
            return
        if self.parts.home is not None and await self._known_to_house():
            return
        self.out.intent = "chat"
        await self._ask_model()

    async def _known_to_house(self) -> bool:
        """Try the sentence on the house, which may have one of its own for it."""
        answer = await self._house(needed=False)
        if answer is None:
            return (
                self.out.acted
            )  # the link was lost on the way: it was said, and is not tried twice
        if answer.kind == "error":
            return False
        self.out.intent = "home_control" if answer.kind == "action_done" else "home_query"
        self._say(answer)
        return True

    async def _house(self, *, needed: bool = True) -> HomeAnswer | None:
        """Return what the house said, or None when it cannot be asked (and that was said)."""
        if self.parts.home is None:
            self._fail("home_assistant", "not_configured")
            return None
        try:
            with self.out.stage("home"):
                return await self.parts.home.converse(self.text, conversation_id=self.session_id)
        except Unavailable as error:
            code = failure_phrases.code_of(error)
            self.out.acted = self.out.acted or code in {"dropped", "timed_out"}
            if needed or self.out.acted:
                self._fail("home_assistant", code)
            return None

    def _say(self, answer: HomeAnswer) -> None:
        self.out.actions = [dict(action) for action in answer.actions]
        self.out.acted = answer.kind == "action_done"
        self.out.code = answer.code
        if answer.kind == "error" and (answer.code == "no_intent_match" or not answer.speech):
            self.out.reply = failure_phrases.spoken(
                "home_assistant", answer.code or "failed_to_handle"
            )
        else:
            self.out.reply = answer.speech or "Done."

    async def _remember(self, fact: str) -> None:
        self.out.intent = "remember"
        with self.out.stage("intent"):
            vector = await self.parts.understanding.vector(fact)
        if vector is None:
            self.out.missing("gpu")
        try:
            with self.out.stage("memory"):
                missing = await self.parts.memory.remember(fact, vector, self.speaker)
        except Unavailable:
            self._fail("database", "dependency_down", spoken_as="memory")
            return
        for dependency in missing:
            self.out.missing(dependency)
        self.out.acted = True
        self.out.actions = [{"type": "remembered", "name": fact}]
        self.out.reply = local_answers.remembered(fact)

    async def _recall(self) -> None:
        if not await self._recalled() and self.out.code is None:
            self.out.reply = local_answers.NOT_TOLD

    async def _recalled(self) -> bool:
        """Answer from what was told, if something fits."""
        try:
            with self.out.stage("memory"):
                known = await self.parts.memory.facts()
        except Unavailable:
            if self.out.intent == "recall":
                self._fail("database", "unreadable", spoken_as="memory")
            return False
        least = self.parts.recall_at_least
        fact = facts.nearest(self.text, self.vector, known, least=least)
        if fact is None:
            return False
        self.out.intent = "recall"
        self.out.reply = local_answers.recalled(fact.text)
        return True

    async def _ask_model(self) -> bool:
        """Ask the language model; False when it said nothing, which was then said aloud."""
        if self.parts.llm is None:
            self._fail("llm", "not_configured")
            return False
        try:
            with self.out.stage("llm"):
                answer = await self.parts.llm.answer(self.text, self.history)
        except Unavailable as error:
            self._fail("llm", error.code)
            return False
        self.out.latency_ms["llm_first_token"] = round(answer.first_token_ms, 3)
        self.out.reply = answer.text or failure_phrases.spoken("llm", "empty")
        self.out.intent = "chat"
        return True

    def _fail(self, dependency: str, code: str, *, spoken_as: str | None = None) -> None:
        self.out.missing(dependency)
        self.out.code = code
        self.out.reply = failure_phrases.spoken(spoken_as or dependency, code)
