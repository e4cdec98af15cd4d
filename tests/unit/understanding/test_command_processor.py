"""Command processing: the order of the attempts, and every failure of a dependency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from barnabee.core.errors import BarnabeeError, DatabaseFull, DependencyDown, TimedOut
from barnabee.store.sessions import Exchange
from barnabee.testing.engines import FakeGpuClient
from barnabee.testing.llm import FakeLanguageModel
from barnabee.understanding import local_replies
from barnabee.understanding.command_processor import (
    CommandOutcome,
    CommandServices,
    process_command,
)
from barnabee.understanding.intent_recognizer import IntentRecognizer
from barnabee.understanding.intents import ConfidenceBand, Thresholds
from barnabee.understanding.interfaces import HomeAnswer, KnownFact, Vectors

NOW = datetime(2026, 11, 23, 15, 20, tzinfo=UTC)
LIGHT = {"type": "entity", "name": "Kitchen Light", "id": "light.kitchen"}
DONE = HomeAnswer("action_done", "Turned on the light", None, (LIGHT,))
NO_MATCH = HomeAnswer("error", "Sorry, I couldn't understand that", "no_intent_match")
DOWN = DependencyDown(dependency="home_assistant", reason="gone")
DROPPED = DependencyDown(dependency="home_assistant", reason="gone", sent=True)


@dataclass
class FakeHomeAgent:
    answer: HomeAnswer | BarnabeeError = DONE
    received: list[str] = field(default_factory=list)

    async def converse(
        self, text: str, *, conversation_id: str | None = None, language: str = "en"
    ) -> HomeAnswer:
        self.received.append(text)
        if isinstance(self.answer, BarnabeeError):
            raise self.answer
        return self.answer


@dataclass
class FakeMemory:
    known: list[KnownFact] = field(default_factory=list)
    error: BarnabeeError | None = None
    missing: list[str] = field(default_factory=list)

    async def remember(self, text: str, vector: Vectors | None, speaker: str | None) -> list[str]:
        if self.error is not None:
            raise self.error
        self.known.append(KnownFact(text, vector))
        return self.missing

    async def facts(self) -> Sequence[KnownFact]:
        if self.error is not None:
            raise self.error
        return self.known


@dataclass
class FakeServices:
    gpu: FakeGpuClient = field(default_factory=FakeGpuClient)
    home: FakeHomeAgent | None = field(default_factory=FakeHomeAgent)
    memory: FakeMemory = field(default_factory=FakeMemory)
    model: FakeLanguageModel | None = None
    history: list[Exchange] = field(default_factory=list)
    recognizer: IntentRecognizer = field(init=False)

    def __post_init__(self) -> None:
        self.recognizer = IntentRecognizer(self.gpu, Thresholds(0.6, 0.5, 0.02))

    async def say(self, utterance: str) -> CommandOutcome:
        services = CommandServices(
            recognizer=self.recognizer,
            memory=self.memory,
            home=self.home,
            llm=self.model,
            now=lambda: NOW,
            recall_threshold=0.5,
        )
        out = await process_command(utterance, services, history=self.history, session_id="s")
        self.history.append(Exchange(utterance, out.reply, out.stored_intent))
        return out


@pytest.fixture
async def services() -> FakeServices:
    services = FakeServices()
    await services.recognizer.embed_examples()
    return services


async def test_a_command_is_passed_to_home_assistant_and_its_speech_returned(
    services: FakeServices,
) -> None:
    out = await services.say("Hey Barnabee, turn on the kitchen light, please.")
    assert services.home is not None
    assert services.home.received == ["turn on the kitchen light"]
    assert (out.reply, out.intent, out.band) == (
        "Turned on the light",
        "home_control",
        ConfidenceBand.ACCEPT,
    )
    assert (out.actions, out.acted, out.degraded) == ([LIGHT], True, [])
    assert set(out.latency_ms) == {"intent", "home"}


async def test_a_home_query_has_not_acted(services: FakeServices) -> None:
    services.home = FakeHomeAgent(HomeAnswer("query_answer", "Yes"))
    out = await services.say("is the kitchen light on")
    assert (out.reply, out.intent, out.acted) == ("Yes", "home_query", False)


async def test_without_a_matching_home_intent_the_model_is_asked(services: FakeServices) -> None:
    services.home, services.model = (
        FakeHomeAgent(NO_MATCH),
        FakeLanguageModel("That I can tell you."),
    )
    out = await services.say("turn on the kitchen light")
    assert (out.reply, out.intent, out.code) == ("That I can tell you.", "chat", None)
    assert out.latency_ms["llm_first_token"] == 1.5


async def test_without_a_model_an_unmatched_home_command_fails(services: FakeServices) -> None:
    services.home = FakeHomeAgent(NO_MATCH)
    out = await services.say("turn on the kitchen light")
    assert out.reply == local_replies.get_failure_phrase("home_assistant", "no_intent_match")
    assert (out.code, out.degraded, out.acted) == ("no_intent_match", [], False)


async def test_a_missing_device_is_reported_in_home_assistants_words(
    services: FakeServices,
) -> None:
    services.home = FakeHomeAgent(HomeAnswer("error", "I know no such device", "no_valid_targets"))
    out = await services.say("turn on the kitchen light")
    assert (out.reply, out.code) == ("I know no such device", "no_valid_targets")


@pytest.mark.parametrize(
    ("error", "code", "acted"),
    [
        (DOWN, "dependency_down", False),
        (DROPPED, "dropped", True),
        (TimedOut(what="Home Assistant", limit_ms=5000), "timed_out", True),
    ],
)
async def test_a_failure_of_home_assistant_is_spoken(
    services: FakeServices, error: BarnabeeError, code: str, *, acted: bool
) -> None:
    services.home = FakeHomeAgent(error)
    out = await services.say("turn on the kitchen light")
    assert out.reply == local_replies.get_failure_phrase("home_assistant", code)
    assert (out.degraded, out.code, out.acted) == (["home_assistant"], code, acted)


async def test_without_home_assistant_a_command_fails(services: FakeServices) -> None:
    services.home = None
    out = await services.say("turn on the kitchen light")
    assert out.reply == local_replies.get_failure_phrase("home_assistant", "not_configured")
    assert out.degraded == ["home_assistant"]


async def test_time_and_date_are_answered_locally(services: FakeServices) -> None:
    assert (await services.say("what time is it")).reply == local_replies.tell_time(NOW)
    assert (await services.say("what is the date")).reply == local_replies.tell_date(NOW)
    assert services.home is not None
    assert services.home.received == []


async def test_the_last_reply_is_repeated(services: FakeServices) -> None:
    first = await services.say("what time is it")
    again = await services.say("can you repeat that")
    assert (again.intent, again.reply) == ("repeat", first.reply)


async def test_a_remembered_fact_answers_a_question(services: FakeServices) -> None:
    first = await services.say("Remember that the spare key is under the mat.")
    second = await services.say("where is the spare key")
    assert first.reply == local_replies.confirm_fact("the spare key is under the mat")
    assert (first.intent, first.acted) == ("remember", True)
    assert (second.intent, second.reply) == (
        "recall",
        local_replies.quote_fact("the spare key is under the mat"),
    )


async def test_a_fact_stored_without_embeddings_is_found_by_its_words(
    services: FakeServices,
) -> None:
    services.gpu.is_down = True
    first = await services.say("remember that the spare key is under the mat")
    services.gpu.is_down = False
    second = await services.say("where is the spare key")
    assert first.degraded == ["gpu"]
    assert second.reply == local_replies.quote_fact("the spare key is under the mat")


async def test_an_unknown_fact_is_not_invented(services: FakeServices) -> None:
    out = await services.say("what did i tell you about the boiler")
    assert (out.intent, out.reply) == ("recall", local_replies.NOT_TOLD)


async def test_a_fact_that_was_not_stored_is_not_confirmed(services: FakeServices) -> None:
    services.memory.error = DatabaseFull(path="x")
    out = await services.say("remember that the spare key is under the mat")
    assert out.reply == local_replies.get_failure_phrase("memory", "dependency_down")
    assert (out.acted, out.degraded) == (False, ["database"])


async def test_unreadable_facts_are_reported(services: FakeServices) -> None:
    services.memory.error = DatabaseFull(path="x")
    out = await services.say("where did i put the spare key")
    assert out.reply == local_replies.get_failure_phrase("memory", "unreadable")
    assert out.degraded == ["database"]


async def test_a_fact_stored_without_the_database_is_degraded(services: FakeServices) -> None:
    services.memory.missing = ["database"]
    out = await services.say("remember that the spare key is under the mat")
    assert (out.degraded, out.acted) == (["database"], True)


async def test_remember_without_a_fact_asks_for_one(services: FakeServices) -> None:
    out = await services.say("remember this")
    assert (out.reply, services.memory.known) == (local_replies.WHAT_FACT, [])


async def test_a_general_question_goes_to_the_model_with_the_history(
    services: FakeServices,
) -> None:
    services.model = FakeLanguageModel()
    await services.say("what time is it")
    out = await services.say("what is the capital of australia")
    assert (out.reply, out.intent, out.degraded) == ("Dublin, I believe.", "chat", [])
    assert [one.utterance for one in services.model.requests[0][1]] == ["what time is it"]


async def test_without_a_model_a_general_question_fails(services: FakeServices) -> None:
    out = await services.say("what is the capital of australia")
    assert out.reply == local_replies.get_failure_phrase("llm", "not_configured")
    assert (out.code, out.degraded) == ("not_configured", ["llm"])


async def test_a_failure_of_the_model_is_spoken(services: FakeServices) -> None:
    services.model = FakeLanguageModel(error=DependencyDown(dependency="llm", reason="401"))
    out = await services.say("what is the capital of australia")
    assert out.reply == local_replies.get_failure_phrase("llm", "dependency_down")
    assert out.degraded == ["llm"]


async def test_an_empty_model_answer_is_replaced(services: FakeServices) -> None:
    services.model = FakeLanguageModel("")
    out = await services.say("what is the capital of australia")
    assert out.reply == local_replies.get_failure_phrase("llm", "empty")


async def test_home_assistant_is_tried_before_the_model(services: FakeServices) -> None:
    services.model = FakeLanguageModel()
    out = await services.say("flugelhorn serenade")
    assert (out.reply, out.intent, out.acted) == ("Turned on the light", "home_control", True)
    assert services.model.requests == []


async def test_an_unknown_sentence_is_passed_to_the_model(services: FakeServices) -> None:
    services.home, services.model = FakeHomeAgent(NO_MATCH), FakeLanguageModel("Pardon?")
    out = await services.say("flugelhorn serenade")
    assert (out.reply, out.intent, out.band) == ("Pardon?", "chat", ConfidenceBand.NONE)


async def test_home_assistant_that_was_not_required_is_not_degraded(services: FakeServices) -> None:
    services.home, services.model = FakeHomeAgent(DOWN), FakeLanguageModel("Pardon?")
    out = await services.say("flugelhorn serenade")
    assert (out.reply, out.degraded, out.code) == ("Pardon?", [], None)


async def test_a_dropped_home_command_is_not_retried_with_the_model(services: FakeServices) -> None:
    services.home, services.model = FakeHomeAgent(DROPPED), FakeLanguageModel()
    out = await services.say("flugelhorn serenade")
    assert out.reply == local_replies.get_failure_phrase("home_assistant", "dropped")
    assert (out.acted, services.model.requests) == (True, [])


async def test_without_embeddings_words_decide_and_it_is_degraded(services: FakeServices) -> None:
    services.gpu.is_down = True
    out = await services.say("turn on the kitchen light")
    assert (out.reply, out.degraded) == ("Turned on the light", ["gpu"])


class TestUnsure:
    @pytest.fixture
    def unsure(self, services: FakeServices) -> str:
        # the two words of an example among six: a cosine of about 0.58 with these vectors
        return "current flugelhorn time serenade oboe minuet"

    async def test_it_asks_back_and_a_yes_is_resolved(
        self, services: FakeServices, unsure: str
    ) -> None:
        services.home = FakeHomeAgent(NO_MATCH)
        asked = await services.say(unsure)
        answered = await services.say("yes")
        assert (asked.intent, asked.band) == ("unsure", ConfidenceBand.ASK)
        assert asked.reply.startswith("I'm not sure I understood. Did you want me to tell you the")
        assert (answered.intent, answered.reply) == ("time", local_replies.tell_time(NOW))

    async def test_a_no_cancels_the_question(self, services: FakeServices, unsure: str) -> None:
        await services.say(unsure)
        assert (await services.say("no")).reply == local_replies.CANCELLED

    async def test_a_yes_without_a_question_is_a_plain_utterance(
        self, services: FakeServices
    ) -> None:
        services.home = FakeHomeAgent(NO_MATCH)
        out = await services.say("yes")
        assert out.intent != "time"

    async def test_asking_back_comes_before_the_model(
        self, services: FakeServices, unsure: str
    ) -> None:
        services.model = FakeLanguageModel()
        out = await services.say(unsure)
        assert (out.intent, services.model.requests) == ("unsure", [])
