"""A turn of the language model: text is spoken sentence by sentence, tools act for it.

What a tool did is said in the tool's own words, and ends the turn; results of questions go back to
the model. Calls that do not follow from the user's words ask first (`tools.is_asked_for`).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Any

from barnabee.core.errors import LlmFailed, Unavailable
from barnabee.understanding.entity_lookup import get_failure_phrase
from barnabee.understanding.interfaces import (
    Home,
    LanguageModel,
    ModelRequest,
    SentenceSink,
    ToolRequest,
)
from barnabee.understanding.model_prompt import clean_data, make_prompt
from barnabee.understanding.skill import Skill, SkillContext, SkillReply
from barnabee.understanding.spoken_text import SpokenText
from barnabee.understanding.tool_runner import HomeSentences, ToolRunner
from barnabee.understanding.tools import InvalidCallError, make_tools

CALLS_MAX = 5
WAITING = "I'm still waiting for an answer."
NOTHING_DONE = "I haven't changed anything."
_RESULT_MAX_CHARS = 1000
_VERBS = (
    "turned|switched|set|started|stopped|added|removed|deleted|locked|unlocked|opened|closed|"
    "created|scheduled|cancell?ed|dimmed|adjusted|changed|played|sent|announced|saved|remembered"
)
# A model says so whether or not a tool did it; the tool's own reply does.
_CLAIM = re.compile(
    r"(?:(?:okay|ok|sure|alright|certainly|great|of course)[,.!]* )*"
    r"(?:(?:all )?done\b"
    rf"|i(?:'ve| have)?(?: just| now| also)* (?:{_VERBS})\b"
    r"|i(?:'ll| will) (?:remind|wake|notify|alert|turn|switch|set|add|start|stop|lock|open|close)\b"
    r"|i(?:'m| am) (?:now )?(?:turning|switching|setting|adding|starting|locking|opening|closing)\b"
    rf"|(?:the|your|all) .{{1,60}}? (?:is|are|has been|have been)(?: now)? (?:{_VERBS}|on|off)\b)",
    re.IGNORECASE,
)


async def ask_model(
    model: LanguageModel,
    text: str,
    context: SkillContext,
    skills: Sequence[Skill],
    home_controller: HomeSentences | None,
    emit: SentenceSink | None,
) -> SkillReply:
    """Return the model's reply; its sentences go to `emit` as soon as each is complete.

    Raises LlmFailed when there is nothing to say. When the listener of `emit` has left, the
    generation ends, and the reply is what was said until then.
    """
    rules = model.rules
    if rules.rooms and context.room not in rules.rooms:
        raise LlmFailed("not_allowed", f"room {context.room}")
    tools = make_tools(skills, with_home=home_controller is not None)
    prompt = await make_prompt(text, context, await _read_home(context), tools, rules)
    actions = ToolRunner(tools, context, home_controller, text)
    turn = _ModelTurn(model, actions, emit)
    return await turn.run(ModelRequest(prompt.messages, prompt.tools, prompt.characters))


class _ModelTurn:
    """State of one turn of the model."""

    def __init__(
        self,
        model: LanguageModel,
        runner: ToolRunner,
        emit: SentenceSink | None,
    ) -> None:
        self._model, self._runner, self._emit = model, runner, emit
        self._started_s = time.perf_counter()
        self._first_token_ms: float | None = None
        self._sentences: list[str] = []
        self._claims: list[str] = []
        self._replies: list[SkillReply] = []  # of tools
        self._calls = 0

    async def run(self, request: ModelRequest) -> SkillReply:
        messages = list(request.messages)
        try:
            while (requests := await self._generate_until_left(request)) is not None:
                results = await self._run_tools(requests)
                if results is None:
                    break
                messages += results
                length = sum(len(str(message["content"])) for message in results)
                characters = {**request.characters, "results": length}
                request = ModelRequest(messages, request.tools, characters)
            else:
                return self._make_reply()
        except LlmFailed as error:
            return await self._fail(error)
        if not self._has_answered:
            await self._say_what_is_known()
        return self._make_reply()

    async def _generate_until_left(self, request: ModelRequest) -> list[ToolRequest] | None:
        """Return the tools asked for; None when the listener has left."""
        generating = asyncio.create_task(self._generate(request))
        if self._emit is None:
            return await generating
        leaving = asyncio.create_task(self._emit.wait_closed())
        patience_s = self._model.rules.patience_s
        try:
            waited = {generating, leaving}
            done, _ = await asyncio.wait(
                waited, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done and self._first_token_ms is None:
                await self._say(WAITING)
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            return await generating if generating.done() else None
        finally:
            for task in (generating, leaving):
                task.cancel()
            await asyncio.gather(generating, leaving, return_exceptions=True)

    async def _generate(self, request: ModelRequest) -> list[ToolRequest]:
        spoken, requests = SpokenText(), []
        async with aclosing(self._model.generate(request)) as pieces:
            async for piece in pieces:
                if self._first_token_ms is None:
                    self._first_token_ms = (time.perf_counter() - self._started_s) * 1000
                if isinstance(piece, ToolRequest):
                    requests.append(piece)
                    continue
                for sentence in spoken.feed(piece):
                    await self._say_unless_claim(sentence)
                if self._is_too_long():
                    return []
        for sentence in spoken.finish():
            await self._say_unless_claim(sentence)
        return requests

    async def _run_tools(self, requests: Sequence[ToolRequest]) -> list[dict[str, Any]] | None:
        """Return the results for the model; None when the turn ends here."""
        if not requests:
            return None
        replies: list[SkillReply] = []
        results: list[dict[str, Any]] = [_make_call_message(requests)]
        for request in requests:
            self._calls += 1
            if self._calls > CALLS_MAX:
                await self._say(f"I stopped after {CALLS_MAX} steps.")
                return None
            try:
                reply = await self._runner.run(request)
            except InvalidCallError as error:
                result = f"Error: {error}"
            else:
                self._replies.append(reply)
                replies.append(reply)
                result = reply.text
                if reply.question is not None:
                    break
            content = clean_data(result, _RESULT_MAX_CHARS)
            results.append({"role": "tool", "tool_call_id": request.call_id, "content": content})
        is_final = any(reply.acted or reply.code or reply.question for reply in replies)
        if is_final or (replies and "results" not in self._model.rules.sent):
            for reply in replies:
                await self._say(reply.text)
            return None
        self._runner.has_results = True
        return results

    async def _say(self, sentence: str) -> None:
        self._sentences.append(sentence)
        if self._emit is not None:
            await self._emit(sentence)

    async def _say_unless_claim(self, sentence: str) -> None:
        if self._is_too_long():
            return
        if _CLAIM.match(sentence):
            self._claims.append(sentence)
        else:
            await self._say(sentence)

    @property
    def _has_answered(self) -> bool:
        return any(sentence != WAITING for sentence in self._sentences)

    def _is_too_long(self) -> bool:
        return sum(map(len, self._sentences)) > self._model.rules.answer_max_chars

    async def _say_what_is_known(self) -> None:
        """Say the results of tools, or what is true instead of a claim."""
        if self._replies:
            for reply in self._replies:
                await self._say(reply.text)
        else:
            await self._say(NOTHING_DONE if self._claims else get_failure_phrase("llm", "empty"))

    async def _fail(self, error: LlmFailed) -> SkillReply:
        """Say the reason after what was said; raises when that is nothing."""
        if not self._sentences and not self._replies:
            raise error
        if not self._has_answered and self._replies:
            await self._say_what_is_known()
        await self._say(get_failure_phrase("llm", error.code))
        return self._make_reply(error.code, failed=True)

    def _make_reply(self, code: str | None = None, *, failed: bool = False) -> SkillReply:
        replies = self._replies
        return SkillReply(
            " ".join(self._sentences),
            acted=any(reply.acted for reply in replies),
            code=next((reply.code for reply in replies if reply.code), code),
            degraded=(
                *(name for reply in replies for name in reply.degraded),
                *(("llm",) if failed else ()),
            ),
            actions=tuple(action for reply in replies for action in reply.actions),
            question=next((reply.question for reply in replies if reply.question), None),
            targets=tuple(target for reply in replies for target in reply.targets),
            undo=tuple(step for reply in replies for step in reply.undo),
            latency_ms={"llm_first_token": round(self._first_token_ms or 0.0, 3)},
        )


async def _read_home(context: SkillContext) -> Home | None:
    if context.home is None:
        return None
    with suppress(Unavailable):
        return await context.home.read_home()
    return None


def _make_call_message(requests: Sequence[ToolRequest]) -> dict[str, Any]:
    """Return the model's own message with its calls, which precedes their results."""
    calls = [
        {
            "id": request.call_id,
            "type": "function",
            "function": {"name": request.name, "arguments": request.arguments},
        }
        for request in requests
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}
