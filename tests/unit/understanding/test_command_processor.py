from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from barnabee.core.errors import BarnabeeError, DatabaseFull, DependencyDown, TimedOut
from barnabee.store.sessions import Exchange
from barnabee.testing.gpu import FakeGpu
from barnabee.testing.llm import FakeModel
from barnabee.understanding import failure_phrases, local_answers
from barnabee.understanding.command_processor import Outcome, Parts, process
from barnabee.understanding.intent_index import Band, Thresholds
from barnabee.understanding.intent_recognizer import Understanding
from barnabee.understanding.interfaces import HomeAnswer, KnownFact, Vectors

NOW = datetime(2026, 11, 23, 15, 20, tzinfo=UTC)
LIGHT = {"type": "entity", "name": "Kitchen Light", "id": "light.kitchen"}
DONE = HomeAnswer("action_done", "Turned on the light", None, (LIGHT,))
NO_MATCH = HomeAnswer("error", "Sorry, I couldn't understand that", "no_intent_match")
DOWN = DependencyDown(dependency="home_assistant", reason="gone")
DROPPED = DependencyDown(dependency="home_assistant", reason="gone", sent=True)


@dataclass
class House:
    answer: HomeAnswer | BarnabeeError = DONE
    heard: list[str] = field(default_factory=list)

    async def converse(
        self, text: str, *, conversation_id: str | None = None, language: str = "en"
    ) -> HomeAnswer:
        self.heard.append(text)
        if isinstance(self.answer, BarnabeeError):
            raise self.answer
        return self.answer


@dataclass
class Notebook:
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
class World:
    gpu: FakeGpu = field(default_factory=FakeGpu)
    house: House | None = field(default_factory=House)
    notebook: Notebook = field(default_factory=Notebook)
    model: FakeModel | None = None
    history: list[Exchange] = field(default_factory=list)
    understanding: Understanding = field(init=False)

    def __post_init__(self) -> None:
        self.understanding = Understanding(self.gpu, Thresholds(0.6, 0.5, 0.02))

    async def say(self, utterance: str) -> Outcome:
        parts = Parts(
            understanding=self.understanding,
            memory=self.notebook,
            home=self.house,
            llm=self.model,
            now=lambda: NOW,
            recall_at_least=0.5,
        )
        out = await process(utterance, parts, history=self.history, session_id="s")
        self.history.append(Exchange(utterance, out.reply, out.kept_as))
        return out


@pytest.fixture
async def world() -> World:
    world = World()
    await world.understanding.learn()
    return world


async def test_an_order_goes_to_the_house_and_its_words_come_back(world: World) -> None:
    out = await world.say("Hey Barnabee, turn on the kitchen light, please.")
    assert world.house is not None
    assert world.house.heard == ["turn on the kitchen light"]
    assert (out.reply, out.intent, out.band) == ("Turned on the light", "home_control", Band.ACCEPT)
    assert (out.actions, out.acted, out.degraded) == ([LIGHT], True, [])
    assert set(out.latency_ms) == {"intent", "home"}


async def test_a_question_to_the_house_changes_nothing(world: World) -> None:
    world.house = House(HomeAnswer("query_answer", "Yes"))
    out = await world.say("is the kitchen light on")
    assert (out.reply, out.intent, out.acted) == ("Yes", "home_query", False)


async def test_what_the_house_does_not_know_is_asked_of_the_model(world: World) -> None:
    world.house, world.model = House(NO_MATCH), FakeModel("That I can tell you.")
    out = await world.say("turn on the kitchen light")
    assert (out.reply, out.intent, out.code) == ("That I can tell you.", "chat", None)
    assert out.latency_ms["llm_first_token"] == 1.5


async def test_without_a_model_the_house_says_that_it_does_not_know(world: World) -> None:
    world.house = House(NO_MATCH)
    out = await world.say("turn on the kitchen light")
    assert out.reply == failure_phrases.spoken("home_assistant", "no_intent_match")
    assert (out.code, out.degraded, out.acted) == ("no_intent_match", [], False)


async def test_the_house_explains_a_missing_device_in_its_own_words(world: World) -> None:
    world.house = House(HomeAnswer("error", "I know no such device", "no_valid_targets"))
    out = await world.say("turn on the kitchen light")
    assert (out.reply, out.code) == ("I know no such device", "no_valid_targets")


@pytest.mark.parametrize(
    ("error", "code", "acted"),
    [
        (DOWN, "dependency_down", False),
        (DROPPED, "dropped", True),
        (TimedOut(what="Home Assistant", limit_ms=5000), "timed_out", True),
    ],
)
async def test_a_house_that_is_away_is_said_aloud(
    world: World, error: BarnabeeError, code: str, *, acted: bool
) -> None:
    world.house = House(error)
    out = await world.say("turn on the kitchen light")
    assert out.reply == failure_phrases.spoken("home_assistant", code)
    assert (out.degraded, out.code, out.acted) == (["home_assistant"], code, acted)


async def test_a_house_without_home_assistant_says_so(world: World) -> None:
    world.house = None
    out = await world.say("turn on the kitchen light")
    assert out.reply == failure_phrases.spoken("home_assistant", "not_configured")
    assert out.degraded == ["home_assistant"]


async def test_time_and_date_are_answered_here(world: World) -> None:
    assert (await world.say("what time is it")).reply == local_answers.time(NOW)
    assert (await world.say("what is the date")).reply == local_answers.date(NOW)
    assert world.house is not None
    assert world.house.heard == []


async def test_the_last_reply_is_said_again(world: World) -> None:
    told = await world.say("what time is it")
    again = await world.say("can you repeat that")
    assert (again.intent, again.reply) == ("repeat", told.reply)


async def test_a_fact_is_remembered_and_found_again(world: World) -> None:
    told = await world.say("Remember that the spare key is under the mat.")
    asked = await world.say("where is the spare key")
    assert told.reply == local_answers.remembered("the spare key is under the mat")
    assert (told.intent, told.acted) == ("remember", True)
    assert (asked.intent, asked.reply) == (
        "recall",
        local_answers.recalled("the spare key is under the mat"),
    )


async def test_a_fact_told_without_embeddings_is_found_by_its_words(world: World) -> None:
    world.gpu.down = True
    told = await world.say("remember that the spare key is under the mat")
    world.gpu.down = False
    asked = await world.say("where is the spare key")
    assert told.degraded == ["gpu"]
    assert asked.reply == local_answers.recalled("the spare key is under the mat")


async def test_what_nobody_told_is_not_invented(world: World) -> None:
    out = await world.say("what did i tell you about the boiler")
    assert (out.intent, out.reply) == ("recall", local_answers.NOT_TOLD)


async def test_a_note_that_cannot_be_kept_is_not_confirmed(world: World) -> None:
    world.notebook.error = DatabaseFull(path="x")
    out = await world.say("remember that the spare key is under the mat")
    assert out.reply == failure_phrases.spoken("memory", "dependency_down")
    assert (out.acted, out.degraded) == (False, ["database"])


async def test_notes_that_cannot_be_read_are_said_to_be_so(world: World) -> None:
    world.notebook.error = DatabaseFull(path="x")
    out = await world.say("where did i put the spare key")
    assert out.reply == failure_phrases.spoken("memory", "unreadable")
    assert out.degraded == ["database"]


async def test_a_note_kept_in_another_way_is_named_degraded(world: World) -> None:
    world.notebook.missing = ["database"]
    out = await world.say("remember that the spare key is under the mat")
    assert (out.degraded, out.acted) == (["database"], True)


async def test_remember_without_a_fact_asks_for_one(world: World) -> None:
    out = await world.say("remember this")
    assert (out.reply, world.notebook.known) == (local_answers.WHAT_FACT, [])


async def test_a_question_about_the_world_goes_to_the_model_with_the_conversation(
    world: World,
) -> None:
    world.model = FakeModel()
    await world.say("what time is it")
    out = await world.say("what is the capital of australia")
    assert (out.reply, out.intent, out.degraded) == ("Dublin, I believe.", "chat", [])
    assert [said.utterance for said in world.model.asked[0][1]] == ["what time is it"]


async def test_without_a_model_the_house_says_what_it_can_do_instead(world: World) -> None:
    out = await world.say("what is the capital of australia")
    assert out.reply == failure_phrases.spoken("llm", "not_configured")
    assert (out.code, out.degraded) == ("not_configured", ["llm"])


async def test_a_model_that_is_away_is_said_aloud(world: World) -> None:
    world.model = FakeModel(error=DependencyDown(dependency="llm", reason="401"))
    out = await world.say("what is the capital of australia")
    assert out.reply == failure_phrases.spoken("llm", "dependency_down")
    assert out.degraded == ["llm"]


async def test_a_model_that_says_nothing_is_not_passed_on(world: World) -> None:
    world.model = FakeModel("")
    out = await world.say("what is the capital of australia")
    assert out.reply == failure_phrases.spoken("llm", "empty")


async def test_a_sentence_of_the_house_s_own_is_tried_on_it_before_the_model(world: World) -> None:
    world.model = FakeModel()
    out = await world.say("flugelhorn serenade")
    assert (out.reply, out.intent, out.acted) == ("Turned on the light", "home_control", True)
    assert world.model.asked == []


async def test_nonsense_ends_with_the_model(world: World) -> None:
    world.house, world.model = House(NO_MATCH), FakeModel("Pardon?")
    out = await world.say("flugelhorn serenade")
    assert (out.reply, out.intent, out.band) == ("Pardon?", "chat", Band.NONE)


async def test_nonsense_does_not_blame_a_house_that_was_not_needed(world: World) -> None:
    world.house, world.model = House(DOWN), FakeModel("Pardon?")
    out = await world.say("flugelhorn serenade")
    assert (out.reply, out.degraded, out.code) == ("Pardon?", [], None)


async def test_a_house_lost_on_the_way_is_not_followed_by_a_second_try(world: World) -> None:
    world.house, world.model = House(DROPPED), FakeModel()
    out = await world.say("flugelhorn serenade")
    assert out.reply == failure_phrases.spoken("home_assistant", "dropped")
    assert (out.acted, world.model.asked) == (True, [])


async def test_without_embeddings_words_do_and_it_is_named(world: World) -> None:
    world.gpu.down = True
    out = await world.say("turn on the kitchen light")
    assert (out.reply, out.degraded) == ("Turned on the light", ["gpu"])


class TestUnsure:
    @pytest.fixture
    def unsure(self, world: World) -> str:
        # the two words of an example among six: a cosine of about 0.58 with these vectors
        return "current flugelhorn time serenade oboe minuet"

    async def test_it_asks_back_and_a_yes_is_understood(self, world: World, unsure: str) -> None:
        world.house = House(NO_MATCH)
        asked = await world.say(unsure)
        cleared = await world.say("yes")
        assert (asked.intent, asked.band) == ("unsure", Band.ASK)
        assert asked.reply.startswith("I'm not sure I understood. Did you want me to tell you the")
        assert (cleared.intent, cleared.reply) == ("time", local_answers.time(NOW))

    async def test_a_no_ends_it(self, world: World, unsure: str) -> None:
        await world.say(unsure)
        assert (await world.say("no")).reply == local_answers.CANCELLED

    async def test_a_yes_to_nothing_is_an_utterance_like_any_other(self, world: World) -> None:
        world.house = House(NO_MATCH)
        out = await world.say("yes")
        assert out.intent != "time"

    async def test_a_model_is_not_asked_instead_of_asking_back(
        self, world: World, unsure: str
    ) -> None:
        world.model = FakeModel()
        out = await world.say(unsure)
        assert (out.intent, world.model.asked) == ("unsure", [])
