"""Tables of routines: sentences of the family's own, and what they do in Home Assistant."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from barnabee.core.schema.services import Text, TomlTable

ServiceName = Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]
EntityId = Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]
Sentence = Annotated[str, Field(pattern=r"^[^{}<>;:]*[a-zA-Z][^{}<>;:]*$")]


class RoutineAction(TomlTable):
    """One service call of Home Assistant."""

    service: ServiceName
    entities: list[EntityId] = []
    data: dict[str, str | int | bool] = {}


class RoutineConfig(TomlTable):
    """A routine: `[optional]` and `(one|other)` may be used in its sentences."""

    sentences: Annotated[list[Sentence], Field(min_length=1)]
    actions: Annotated[list[RoutineAction], Field(min_length=1)]
    say: Text = "Okay."
