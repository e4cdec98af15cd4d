"""Command processing: the order of the attempts, clauses, questions and every failure."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from barnabee.core.errors import (
    BarnabeeError,
    DatabaseFull,
    DependencyDown,
    HomeRefused,
    LlmFailed,
    TimedOut,
)
from barnabee.skills import load_skills
from barnabee.store.sessions import Exchange
from barnabee.understanding.command_context import CommandOutcome, CommandServices, CommandSource
from barnabee.understanding.command_processor import process_command
from barnabee.understanding.entity_lookup import get_failure_phrase
from barnabee.understanding.home_controller import HomeController
from barnabee.understanding.intent_recognizer import ConfidenceBand, IntentRecognizer, Thresholds
from barnabee.understanding.interfaces import KnownFact, Vectors
from barnabee.understanding.sentence_matcher import SentenceMatcher
from barnabee.understanding.skill import (
    Question,
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from support.fake_engines import FakeGpuClient
from support.fake_llm import FakeLanguageModel
from support.home import FakeHome

NOW = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)
DOWN = DependencyDown(dependency="home_assistant", reason="gone")
DROPPED = DependencyDown(dependency="home_assistant", reason="gone", sent=True)
SKILLS = load_skills()
MATCHER = SentenceMatcher(SKILLS)
NONSENSE = "flugelhorn serenade"


@dataclass
class FakeMemory:
    known: list[KnownFact] = field(default_factory=list)
    error: BarnabeeError | None = None

    async def remember(self, text: str, vector: Vectors | None, speaker: str | None) -> list[str]:
        if self.error is not None:
            raise self.error
        self.known.append(KnownFact(text, vector, str(len(self.known))))
        return []

    async def facts(self) -> Sequence[KnownFact]:
        if self.error is not None:
            raise self.error
        return self.known

    async def forget(self, fact_ids: Collection[str]) -> None:
        self.known = [fact for fact in self.known if fact.fact_id not in fact_ids]


@dataclass
class FakeSink:
    sentences: list[str] = field(default_factory=list)

    async def __call__(self, sentence: str) -> None:
        self.sentences.append(sentence)

    async def wait_closed(self) -> None:
        await asyncio.Event().wait()


@dataclass
class Assistant:
    """The processor with all skills on fakes; it keeps the conversation."""

    gpu: FakeGpuClient = field(default_factory=FakeGpuClient)
    home: FakeHome | None = field(default_factory=FakeHome)
    memory: FakeMemory = field(default_factory=FakeMemory)
    model: FakeLanguageModel | None = None
    skills: tuple[Skill, ...] = SKILLS
    history: list[Exchange] = field(default_factory=list)
    sink: FakeSink | None = None
    recognizer: IntentRecognizer = field(init=False)

    def __post_init__(self) -> None:
        self.recognizer = IntentRecognizer(self.gpu, Thresholds(0.6, 0.5, 0.02))
        if self.home is not None:
            self.home.add("light.kitchen", "Kitchen Light", area="kitchen")
            self.home.add("light.bedroom", "Bedroom Light", area="bedroom")
            self.home.add("lock.front_door", "Front Door", "locked", area="hall")

    async def say(self, utterance: str, room: str | None = None) -> CommandOutcome:
        services = CommandServices(
            recognizer=self.recognizer,
            memory=self.memory,
            skills=self.skills,
            matcher=MATCHER if self.skills is SKILLS else SentenceMatcher(self.skills),
            home=self.home,
            home_controller=HomeController(self.home) if self.home is not None else None,
            llm=self.model,
            now=lambda zone: NOW.astimezone(ZoneInfo(zone or "UTC")),
        )
        source = CommandSource(tuple(self.history), "s", "emma", room)
        out = await process_command(utterance, services, source, emit=self.sink)
        self.history.append(Exchange(utterance, out.reply, out.intent, out.context))
        return out


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    recognizer = IntentRecognizer(FakeGpuClient(), Thresholds(0.6, 0.5, 0.02))
    return asyncio.run(recognizer.embed_examples())


@pytest.fixture
def assistant(vectors: Vectors) -> Assistant:
    assistant = Assistant()
    assistant.recognizer.use_vectors(vectors)
    return assistant


def get_home(assistant: Assistant) -> FakeHome:
    assert assistant.home is not None
    return assistant.home


def make_skill(name: str, *sentences: str, reply: SkillReply | BarnabeeError | None) -> Skill:
    """Return a skill that always gives `reply`, and takes "yes" as the answer to a question."""

    async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
        if isinstance(reply, BarnabeeError):
            raise reply
        return reply

    async def answer(question: Question, text: str, context: SkillContext) -> SkillReply | None:
        return SkillReply(f"Done: {question.data['what']}.", acted=True) if text == "Yes" else None

    return Skill(name, (SkillIntent(name, "do it", sentences),), handle, answer)


# ---- the order of the attempts ---------------------------------------------------------------


async def test_a_home_command_is_carried_out_without_politeness(assistant: Assistant) -> None:
    out = await assistant.say("Hey Barnabee, um, could you turn on the kitchen light, please?")
    assert get_home(assistant).state("light.kitchen") == "on"
    assert (out.intent, out.acted, out.code, out.degraded) == ("home_control", True, None, [])
    assert out.context["targets"] == ["light.kitchen"]
    assert {"intent", "home"} <= set(out.latency_ms)


async def test_a_question_about_the_home_has_not_acted(assistant: Assistant) -> None:
    out = await assistant.say("is the kitchen light on")
    assert (out.intent, out.acted) == ("home_query", False)


async def test_a_sentence_of_a_skill_needs_neither_home_nor_embeddings(
    assistant: Assistant,
) -> None:
    out = await assistant.say("what time is it")
    assert out.intent == "time"
    assert get_home(assistant).sentences == []
    assert set(out.latency_ms) == {"intent", "skill"}


async def test_the_time_is_that_of_the_home(assistant: Assistant) -> None:
    get_home(assistant).time_zone = "Asia/Tokyo"
    assert "twenty past eleven" in (await assistant.say("what time is it")).reply
    get_home(assistant).time_zone = None
    assert "twenty past two" in (await assistant.say("what time is it")).reply


async def test_a_skill_may_pass_a_sentence_on_to_the_next(assistant: Assistant) -> None:
    assistant.skills = (
        make_skill("one", "ring the bell", reply=None),
        make_skill("two", "ring the (bell|gong)", reply=SkillReply("Ding.")),
    )
    assert (await assistant.say("ring the bell")).reply == "Ding."


async def test_the_nearest_example_calls_the_skill_of_its_name(assistant: Assistant) -> None:
    assistant.skills = (make_skill("time", "unused", reply=SkillReply("Late.")),)
    out = await assistant.say("do you have the time")
    assert (out.reply, out.intent, out.band) == ("Late.", "time", ConfidenceBand.ACCEPT)


async def test_an_unknown_home_command_is_refused_without_a_model(assistant: Assistant) -> None:
    out = await assistant.say("start the coffee machine")
    assert (out.code is not None, out.acted) == (True, False)
    assert "any device called" not in out.reply


async def test_without_home_assistant_a_home_command_says_so(assistant: Assistant) -> None:
    assistant.home = None
    out = await assistant.say("turn on the kitchen light")
    assert out.reply == get_failure_phrase("home_assistant", "not_configured")
    assert (out.code, out.degraded) == ("not_configured", ["home_assistant"])


async def test_without_embeddings_words_decide_and_it_is_degraded(assistant: Assistant) -> None:
    assistant.gpu.is_down = True
    assistant.skills = (make_skill("time", "unused", reply=SkillReply("Late.")),)
    out = await assistant.say("do you have the time")
    assert (out.reply, out.degraded) == ("Late.", ["gpu"])


# ---- clauses and references ------------------------------------------------------------------


async def test_two_commands_in_a_sentence_are_answered_as_one(assistant: Assistant) -> None:
    out = await assistant.say("turn on the kitchen light and what time is it")
    assert get_home(assistant).state("light.kitchen") == "on"
    assert "twenty past three" in out.reply
    assert (out.acted, len(out.reply.split(". ")) >= 2) == (True, True)


async def test_a_thing_that_two_clauses_share_is_switched_in_both(assistant: Assistant) -> None:
    out = await assistant.say("turn on the kitchen light and the bedroom light")
    home = get_home(assistant)
    assert (home.state("light.kitchen"), home.state("light.bedroom")) == ("on", "on")
    assert out.context["targets"] == ["light.kitchen", "light.bedroom"]


async def test_it_means_the_thing_of_the_last_command(assistant: Assistant) -> None:
    await assistant.say("turn on the kitchen light")
    await assistant.say("what time is it")
    await assistant.say("turn it off again")
    assert get_home(assistant).state("light.kitchen") == "off"


async def test_it_means_the_thing_of_the_clause_before(assistant: Assistant) -> None:
    await assistant.say("turn on the kitchen light and turn it off again")
    assert get_home(assistant).state("light.kitchen") == "off"


async def test_another_room_gets_the_same_command(assistant: Assistant) -> None:
    await assistant.say("turn on the kitchen light")
    await assistant.say("and the bedroom")
    assert get_home(assistant).state("light.bedroom") == "on"


async def test_a_corrected_command_is_the_only_one(assistant: Assistant) -> None:
    await assistant.say("turn on the kitchen light, no wait, the bedroom")
    home = get_home(assistant)
    assert (home.state("light.kitchen"), home.state("light.bedroom")) == ("off", "on")


async def test_a_command_that_is_taken_back_does_nothing(assistant: Assistant) -> None:
    out = await assistant.say("turn on the kitchen light no wait never mind")
    assert (out.acted, get_home(assistant).calls) == (False, [])


async def test_the_last_change_is_undone_first(assistant: Assistant) -> None:
    out = await assistant.say("turn on the kitchen light and the bedroom light")
    undone = [call["entity_ids"] for call in out.context["undo"]]
    assert undone == [["light.bedroom"], ["light.kitchen"]]


# ---- questions -------------------------------------------------------------------------------


async def test_the_sentence_after_a_question_goes_to_the_skill_that_asked(
    assistant: Assistant,
) -> None:
    asked = SkillReply("Really?", question=Question("bell", {"what": "ring"}))
    assistant.skills = (make_skill("bell", "ring the bell", reply=asked),)
    out = await assistant.say("ring the bell")
    assert out.context["question"] == {"skill": "bell", "data": {"what": "ring"}}
    out = await assistant.say("Yes, please.")
    assert (out.reply, out.acted, "question" in out.context) == ("Done: ring.", True, False)


async def test_another_sentence_drops_the_question(assistant: Assistant) -> None:
    asked = SkillReply("Really?", question=Question("bell", {"what": "ring"}))
    assistant.skills = (make_skill("bell", "ring the bell", reply=asked), *SKILLS)
    await assistant.say("ring the bell")
    assert (await assistant.say("what time is it")).intent == "time"
    assert (await assistant.say("Yes")).reply != "Done: ring."


async def test_a_lock_opens_only_after_a_yes(assistant: Assistant) -> None:
    home = get_home(assistant)
    await assistant.say("unlock the front door")
    assert (home.state("lock.front_door"), home.calls) == ("locked", [])
    await assistant.say("yes")
    assert home.state("lock.front_door") == "unlocked"


async def test_the_question_is_heard_last_and_there_is_one(assistant: Assistant) -> None:
    asked = SkillReply("Really?", question=Question("bell", {"what": "ring"}))
    assistant.skills = (make_skill("bell", "ring the (bell|gong)", reply=asked), *SKILLS)
    out = await assistant.say("ring the bell, tell me the time and tell me the date")
    assert out.reply.startswith("Really?") is False
    assert out.reply.endswith("Really?")


class TestUnsure:
    @pytest.fixture
    def unsure(self) -> str:
        # the two words of an example among six: a cosine of about 0.58 with these vectors
        return "current flugelhorn time serenade oboe minuet"

    async def test_it_asks_back_and_a_yes_is_resolved(
        self, assistant: Assistant, unsure: str
    ) -> None:
        asked = await assistant.say(unsure)
        answered = await assistant.say("yes")
        assert (asked.intent, asked.band) == ("unsure", ConfidenceBand.ASK)
        assert asked.reply.startswith("I'm not sure I understood. Did you want me to tell you the")
        assert answered.intent == "time"

    async def test_the_second_of_two_can_be_chosen(self, assistant: Assistant, unsure: str) -> None:
        data = {"text": "what is it", "intents": ["date", "time"]}
        context = {"question": {"skill": "clarification", "data": data}}
        assistant.history.append(Exchange(unsure, "The date, or the time?", "unsure", context))
        assert (await assistant.say("the second one")).intent == "time"

    async def test_the_model_is_asked_instead(self, assistant: Assistant, unsure: str) -> None:
        assistant.model = FakeLanguageModel("A tune.")
        assert (await assistant.say(unsure)).reply == "A tune."

    @pytest.mark.parametrize("word", ["louder", "no", "flugelhorn"])
    async def test_a_single_word_is_no_reason_to_ask_back(
        self, assistant: Assistant, word: str
    ) -> None:
        assert "Did you want me" not in (await assistant.say(word)).reply


# ---- the language model ----------------------------------------------------------------------


async def test_what_nothing_else_knows_goes_to_the_model(assistant: Assistant) -> None:
    assistant.model = FakeLanguageModel("Canberra.")
    out = await assistant.say("what is the capital of australia")
    assert (out.reply, out.intent, out.degraded) == ("Canberra.", "chat", [])
    assert "llm_first_token" in out.latency_ms
    assert "text" not in out.context


async def test_an_unknown_home_command_goes_to_the_model(
    assistant: Assistant,
) -> None:
    assistant.model = FakeLanguageModel("I can't.")
    out = await assistant.say("water the garden")
    assert (out.reply, out.intent) == ("I can't.", "chat")


async def test_without_a_model_it_says_that_it_does_not_know(assistant: Assistant) -> None:
    out = await assistant.say("what is the capital of australia")
    assert out.reply == get_failure_phrase("llm", "not_configured")
    assert (out.code, out.degraded) == ("not_configured", ["llm"])


async def test_an_empty_answer_of_the_model_is_replaced(assistant: Assistant) -> None:
    assistant.model = FakeLanguageModel("")
    out = await assistant.say("what is the capital of australia")
    assert out.reply
    assert out.code in {None, "empty", "cut_short"}


async def test_what_precedes_a_streamed_answer_is_spoken_first(assistant: Assistant) -> None:
    assistant.model, assistant.sink = FakeLanguageModel("Canberra it is."), FakeSink()
    out = await assistant.say(
        "tell me the time and what is the capital of australia and tell me the date"
    )
    assert len(assistant.sink.sentences) == 3
    assert assistant.sink.sentences[1] == "Canberra it is."
    assert " ".join(assistant.sink.sentences) == out.reply


async def test_a_reply_without_the_model_is_not_streamed(assistant: Assistant) -> None:
    assistant.sink = FakeSink()
    await assistant.say("what time is it")
    assert assistant.sink.sentences == []


# ---- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "acted"),
    [
        (DOWN, "dependency_down", False),
        (DROPPED, "dropped", True),
        (TimedOut(what="Home Assistant", limit_ms=5000), "timed_out", True),
    ],
)
async def test_a_failure_of_home_assistant_is_spoken(
    assistant: Assistant, error: BarnabeeError, code: str, *, acted: bool
) -> None:
    get_home(assistant).error = error
    out = await assistant.say("turn on the kitchen light")
    assert out.reply == get_failure_phrase("home_assistant", code)
    assert (out.degraded, out.code, out.acted) == (["home_assistant"], code, acted)


async def test_home_assistant_that_was_not_needed_is_not_missed(assistant: Assistant) -> None:
    get_home(assistant).error, assistant.model = DOWN, FakeLanguageModel("Canberra.")
    assert (await assistant.say("what time is it")).degraded == []
    out = await assistant.say("what is the capital of australia")
    assert (out.reply, out.degraded, out.code) == ("Canberra.", [], None)


async def test_a_sentence_that_may_be_for_the_home_names_what_is_down(
    assistant: Assistant,
) -> None:
    get_home(assistant).error = DOWN
    out = await assistant.say(NONSENSE)
    assert out.reply == get_failure_phrase("home_assistant", "dependency_down")


async def test_a_dropped_command_is_not_repeated_with_the_model(assistant: Assistant) -> None:
    get_home(assistant).error, assistant.model = DROPPED, FakeLanguageModel()
    out = await assistant.say(NONSENSE)
    assert out.reply == get_failure_phrase("home_assistant", "dropped")
    assert (out.acted, assistant.model.requests) == (True, [])


@pytest.mark.parametrize(
    ("error", "reply", "degraded"),
    [
        (
            HomeRefused(service="todo.add_item", reason="The list is full"),
            "Home Assistant couldn't do that: The list is full.",
            [],
        ),
        (DatabaseFull(path="x"), get_failure_phrase("database", "database_full"), ["database"]),
        (
            DependencyDown(dependency="home_assistant", reason="gone"),
            get_failure_phrase("home_assistant", "dependency_down"),
            ["home_assistant"],
        ),
        (DependencyDown(dependency="x", reason="gone"), get_failure_phrase("x", ""), ["x"]),
    ],
)
async def test_the_reason_of_a_skill_s_failure_is_spoken(
    assistant: Assistant, error: BarnabeeError, reply: str, degraded: list[str]
) -> None:
    assistant.skills = (make_skill("bell", "ring the bell", reply=error),)
    out = await assistant.say("ring the bell")
    assert (out.reply, out.degraded, out.code) == (reply, degraded, error.code)


@pytest.mark.parametrize(
    "code", ["dependency_down", "timed_out", "rate_limited", "unauthorized", "not_found", "stalled"]
)
async def test_a_failure_of_the_model_is_spoken(assistant: Assistant, code: str) -> None:
    assistant.model = FakeLanguageModel(error=LlmFailed(code, "x"))  # type: ignore[arg-type]
    out = await assistant.say("what is the capital of australia")
    assert out.reply == get_failure_phrase("llm", code)
    assert (out.degraded, out.code) == (["llm"], code)


async def test_one_of_two_clauses_may_fail(assistant: Assistant) -> None:
    get_home(assistant).error = DOWN
    out = await assistant.say("turn on the kitchen light and tell me the time")
    assert out.reply.startswith(get_failure_phrase("home_assistant", "dependency_down"))
    assert out.code == "dependency_down"
    assert "twenty past two" in out.reply


def test_a_required_slot_is_never_called_without_a_value() -> None:
    skill = Skill(
        "time",
        (SkillIntent("time", "tell", ("time in {place}",), {"place": Slot()}),),
        make_skill("x", reply=None).handle,
    )
    services = CommandServices(
        recognizer=IntentRecognizer(FakeGpuClient(), Thresholds(0.6, 0.5, 0.02)),
        memory=FakeMemory(),
        skills=(skill,),
        matcher=SentenceMatcher((skill,)),
        now=lambda _zone: NOW,
    )
    assert services.find_intent("time") is None


async def test_the_room_of_a_satellite_is_the_area_of_its_device(assistant: Assistant) -> None:
    get_home(assistant).device_areas["0af7651916cd43dd"] = "bedroom"
    await assistant.say("turn on the lights", room="0af7651916cd43dd")
    assert get_home(assistant).state("light.bedroom") == "on"
    assert get_home(assistant).state("light.kitchen") == "off"
