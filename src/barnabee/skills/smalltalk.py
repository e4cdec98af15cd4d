"""Small talk: greetings, thanks, repetition, what the assistant is and what it can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from barnabee.skills import load_skills
from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.spoken_forms import join_spoken
from barnabee.understanding.words import fold_name

NAME = "smalltalk"
HOME = "control the things in your home"
SPOKEN_AT_ONCE = 6
_NOON, _EVENING = 12, 18
_ASKED_MOST = frozenset({"timers", "lists", "weather", "alarms", "reminders"})
_REPEATING = frozenset({"repeat", "what_did_i_say"})


def greet(call: SkillCall, context: SkillContext) -> str:
    hour = context.now.hour
    part = "morning" if hour < _NOON else "afternoon" if hour < _EVENING else "evening"
    return f"Good {part}. What can I do for you?"


def say_goodbye(call: SkillCall, context: SkillContext) -> str:
    return "Good night. Sleep well." if "night" in call.text.lower() else "Goodbye."


def repeat(call: SkillCall, context: SkillContext) -> str:
    return context.history[-1].reply if context.history else "I haven't said anything yet."


def repeat_user(call: SkillCall, context: SkillContext) -> str:
    """Return what the person said last, other than the question for it."""
    said = [past.utterance for past in context.history if past.intent not in _REPEATING]
    return f"You said: {said[-1]}" if said else "You haven't said anything before that."


def describe_capabilities(call: SkillCall, context: SkillContext) -> str:
    """Name some things that can be asked for; when asked again, the next ones."""
    skills = sorted(load_skills(), key=lambda skill: skill.name not in _ASKED_MOST)
    able = [HOME, *(skill.intents[0].description for skill in skills if skill.name != NAME)]
    asked = sum(past.intent == "capabilities" for past in context.history)
    first = asked * SPOKEN_AT_ONCE % len(able)
    shown = (able + able)[first : first + SPOKEN_AT_ONCE]
    return f"I can {join_spoken(shown)}. Ask me again for more."


def describe_skill(call: SkillCall, context: SkillContext) -> str | None:
    """Name what one skill can do."""
    wanted = fold_name(call.slots["subject"]).removesuffix("s")
    for skill in load_skills():
        if skill.name.removesuffix("s") == wanted:
            return f"I can {join_spoken([intent.description for intent in skill.intents])}."
    return None


def _say(text: str) -> Callable[[SkillCall, SkillContext], str]:
    return lambda _call, _context: text


_ANSWERS: Mapping[str, Callable[[SkillCall, SkillContext], str | None]] = {
    "greeting": greet,
    "how_are_you": _say("I'm fine, thank you. What can I do for you?"),
    "thanks": _say("You're welcome."),
    "praise": _say("Thank you."),
    "complaint": _say("I'm sorry. Tell me again what you want, in other words."),
    "apology": _say("No problem."),
    "goodbye": say_goodbye,
    "cancel": _say("Okay."),
    "be_quiet": _say("Okay."),
    "bare_yes": _say("I'm not waiting for an answer. What can I do for you?"),
    "repeat": repeat,
    "what_did_i_say": repeat_user,
    "identity": _say("I'm Barnabee, the voice assistant of your home."),
    "presence": _say("Yes, I'm listening."),
    "wishes": _say("Thank you, the same to you."),
    "capabilities": describe_capabilities,
    "capabilities_about": describe_skill,
}


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    text = _ANSWERS[call.intent](call, context)
    return None if text is None else SkillReply(text)


SKILL = Skill(
    NAME,
    (
        SkillIntent(
            "greeting",
            "greet you",
            (
                "[say] (hello|hi|hey|hiya|howdy|greetings) [there]",
                "good (morning|afternoon|evening|day)",
                "(morning|evening)",
            ),
        ),
        SkillIntent(
            "how_are_you",
            "tell you how I am",
            (
                "[(hello|hi|hey)] how are (you|things) [doing] [today]",
                "how (is it going|do you do|do you feel)",
                "are you (ok|okay|well|fine|all right|alright)",
                "what is up",
            ),
        ),
        SkillIntent(
            "thanks",
            "accept your thanks",
            (
                "[(ok|okay|great|perfect)] (thanks|thank you|cheers) [(a lot|so much|very much)]",
                "much appreciated",
            ),
        ),
        SkillIntent(
            "praise",
            "accept your praise",
            (
                "(good job|well done|nice work|good work|bravo|good girl|good boy)",
                "(you are|you're) (great|awesome|amazing|the best|wonderful|clever|smart|funny)",
                "(i love you|i like you|that was great|that is funny|that's funny)",
            ),
        ),
        SkillIntent(
            "complaint",
            "hear your complaint",
            (
                "(you are|you're) (stupid|useless|dumb|annoying|wrong|an idiot)",
                "(that is|that's|that was) (wrong|not right|not what i (meant|said|asked|wanted))",
                "(you misunderstood|wrong)",
            ),
        ),
        SkillIntent("apology", "accept an apology", ("[(i am|i'm)] sorry",)),
        SkillIntent(
            "goodbye",
            "say goodbye",
            (
                "(goodbye|good bye|bye|bye bye|see you|see you [later|tomorrow|soon]|farewell)",
                "(good night|goodnight|night night) [everyone]",
            ),
        ),
        SkillIntent(
            "cancel",
            "leave it",
            (
                "(never mind|nevermind|cancel|stop|leave it|forget it|forget that|scratch that)",
                "(no|nope|nah|no thanks|no thank you|not now|nothing|don't|do not|drop it)",
                "forget about (it|that)",
                "(cancel that|cancel it|it doesn't matter|that is all|that's all|no wait)",
            ),
        ),
        SkillIntent(
            "be_quiet",
            "be quiet",
            (
                "[please] (shut up|be quiet|quiet|silence|hush|shush|enough|that's enough)",
                "(stop talking|stop it|shut it|be silent|not so loud)",
            ),
        ),
        SkillIntent(
            "bare_yes",
            "answer a yes",
            ("(yes|yeah|yep|yup|sure|of course|okay|ok|right|all right|alright|fine|correct)",),
        ),
        SkillIntent(
            "repeat",
            "repeat what I said",
            (
                "(repeat|say) [(that|it|this)] [(again|once more|one more time|slowly)]",
                "[please] (repeat|say) [(that|it|this)] [(again|once more|one more time|please)]",
                "(repeat|say) (what you said|what you just said|yourself|your last answer)",
                "what (did|was it) you [just] (say|said) [(again|just now)]",
                "(pardon|pardon me|come again|excuse me|what|what was that|huh|sorry what) [again]",
                "i (didn't|did not|couldn't|could not) (catch|hear|get|understand) (that|you|it)",
                "(once more|one more time|again|tell me again)",
            ),
        ),
        SkillIntent(
            "what_did_i_say",
            "repeat what you said",
            (
                "what (did|have) i [just] (say|said|ask|asked) [you] [(before|just now|again)]",
                "what (was|were) my [last] (question|words|command)",
                "what did you [just] (hear|understand) [me] [say]",
                "repeat what i [just] said",
            ),
        ),
        SkillIntent(
            "identity",
            "tell you who I am",
            (
                "who are you",
                "what (are you|is your name|do they call you|should i call you)",
                "(are you|is this) (alexa|siri|google|a robot|human|a human|real|a computer|an ai)",
                "introduce yourself",
            ),
        ),
        SkillIntent(
            "presence",
            "tell you that I listen",
            (
                "(are you|is anyone) (there|listening|awake)",
                "are you (on|working)",
                "(can you hear me|do you hear me|test|testing|this is a test|hello are you there)",
            ),
        ),
        SkillIntent(
            "wishes",
            "return your wishes",
            ("(merry christmas|happy christmas|happy new year|happy easter|happy holidays)",),
        ),
        SkillIntent(
            "capabilities",
            "tell you what I can do",
            (
                (
                    "what [(else|all)] can (you|i) (do|say|ask|help with|ask you) "
                    "[(for me|else|about)]"
                ),
                "what [else] (are you able|do you know how) to do",
                "what (are your (skills|capabilities|features)|do you do|can you help me with)",
                "(help|help me|i need help|what are my options|how (do you|does this) work)",
                "how can you help [me]",
                "(tell me|show me) what you can do",
            ),
        ),
        SkillIntent(
            "capabilities_about",
            "tell you what I can do with something",
            (
                "what can you do (with|about) [(the|my|your)] {subject}",
                "(help|help me) with [(the|my|your)] {subject}",
                "how do [(the|your)] {subject} work",
            ),
            {"subject": Slot(description="the skill, like 'timers' or 'lists'")},
        ),
    ),
    handle,
)
