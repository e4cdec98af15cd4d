"""Value types of `system.toml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]
Mib = Annotated[int, Field(ge=0, le=1_048_576)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Field(ge=1, le=600_000)]
Hour = Annotated[int, Field(ge=0, le=23)]
Percent = Annotated[int, Field(ge=1, le=100)]
Permille = Annotated[int, Field(ge=0, le=1000)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
Text = Annotated[str, Field(min_length=1)]
Clock = Annotated[str, Field(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Role = Literal["core", "gpu", "monitoring"]


class TomlTable(BaseModel):
    """A TOML table: frozen, strict types, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
