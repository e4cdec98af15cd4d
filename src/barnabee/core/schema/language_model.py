"""Table of the language model that answers what no skill and no device can."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from barnabee.core.schema.services import Count, Milliseconds, Name, Seconds, TomlTable

SentKind = Literal["history", "home", "room", "speaker", "results"]


class LlmConfig(TomlTable):
    """Language model: its server, the limits of an answer, and what may be sent to it.

    `openai` is every server with OpenAI's API, also one of this machine; `gpu` is the model of the
    gpu service, `[model]` with the task "llm". With `none` no connection is made.
    """

    provider: Literal["none", "gpu", "openai", "azure"]
    url: Annotated[str, Field(pattern="^(https?://[^\\s]+)?$")]
    model: str  # of Azure the name of the deployment
    api_version: str  # of Azure
    context_max_chars: Annotated[int, Field(ge=1000, le=1_000_000)]  # instructions and history
    answer_max_chars: Annotated[int, Field(ge=50, le=20_000)]
    answer_max_tokens: Count  # thoughts included
    first_token_ms: Milliseconds
    stall_ms: Milliseconds  # between two tokens
    answer_ms: Milliseconds  # the whole answer
    check_every_s: Seconds  # one token is asked for so often
    rooms: list[Name]  # only there; empty: everywhere
    send: list[SentKind]  # beside the sentence itself
