"""Carries out the tool calls of the language model, or asks the user first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from barnabee.core.errors import HomeRefused, Unavailable
from barnabee.understanding.entity_lookup import describe_failure
from barnabee.understanding.interfaces import ToolRequest
from barnabee.understanding.model_prompt import clean_data
from barnabee.understanding.questions import parse_yes_no
from barnabee.understanding.skill import Question, Skill, SkillContext, SkillReply
from barnabee.understanding.tools import (
    InvalidCallError,
    Tool,
    ToolCall,
    is_asked_for,
    make_tools,
    parse_call,
)

CONFIRMATION = "language_model"  # name of the skill that takes the answer to "Did you want …?"

log = structlog.get_logger()


class HomeSentences(Protocol):
    """Carries out sentences about the home; None for a sentence that is about something else."""

    async def handle(self, text: str, context: SkillContext) -> SkillReply | None: ...


def make_confirmation_skill(
    skills: Sequence[Skill], home_controller: HomeSentences | None
) -> Skill:
    """Return the skill that carries out a call of the model after the user's yes."""

    async def answer(question: Question, text: str, context: SkillContext) -> SkillReply | None:
        is_confirmed = parse_yes_no(text)
        if is_confirmed is None:
            return None
        if not is_confirmed:
            return SkillReply("Okay, I won't.")
        tools = make_tools(skills, with_home=home_controller is not None)
        request = ToolRequest("", question.data["tool"], question.data["arguments"])
        runner = ToolRunner(tools, context, home_controller, question.data["text"])
        return await runner.run(request, is_confirmed=True)

    async def handle(*_: Any) -> SkillReply | None:
        return None

    return Skill(CONFIRMATION, (), handle, answer)


class ToolRunner:
    """Carries out the calls of one turn, under the same rules as the user's own sentences."""

    def __init__(
        self,
        tools: Sequence[Tool],
        context: SkillContext,
        home_controller: HomeSentences | None,
        text: str,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._context, self._home_controller, self._text = context, home_controller, text
        self.has_results = False  # the model has seen text that is not the user's

    async def run(self, request: ToolRequest, *, is_confirmed: bool = False) -> SkillReply:
        """Return the reply of the tool; raises InvalidCallError with a message for the model."""
        call = parse_call(request, self._tools, self._text, self._context.now)
        is_allowed = is_confirmed or is_asked_for(call, self._text, has_results=self.has_results)
        log.info("llm_tool", tool=call.tool.name, asked_for=is_allowed)
        if not is_allowed:
            return self._ask_first(call, request)
        try:
            reply = await self._carry_out(call)
        except (Unavailable, HomeRefused) as error:
            return describe_failure(error)
        if reply is None:
            raise InvalidCallError("That is not possible with these arguments.")
        return reply

    async def _carry_out(self, call: ToolCall) -> SkillReply | None:
        if call.skill_call is not None and call.tool.skill is not None:
            return await call.tool.skill.handle(call.skill_call, self._context)
        if self._home_controller is None:
            return None
        return await self._home_controller.handle(call.sentence, self._context)

    def _ask_first(self, call: ToolCall, request: ToolRequest) -> SkillReply:
        data = {"tool": request.name, "arguments": request.arguments, "text": self._text}
        summary = clean_data(call.summary, 200)
        question = Question(CONFIRMATION, data)
        return SkillReply(f"Did you want me to {summary}?", question=question)
