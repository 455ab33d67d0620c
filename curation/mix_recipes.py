"""What a mix is made of: parts, a format and a seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from curation.errors import CorpusError
from curation.operators import translated


class Part(BaseModel):
    """Where samples of a mix come from, and how many."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    selection: str | None = Field(None, description="A stored selection; its best samples come first")
    where: str | None = Field(None, description="Or a SQL condition; samples come in an order drawn by the seed")
    rows: int | None = Field(None, ge=1, description="Exactly so many samples")
    weight: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Or a share, relative to the other parts' weights"
    )
    times: int = Field(1, ge=1, le=100, description="How often each of its samples comes in the mix")
    stage: str | None = Field(
        None,
        pattern=r"^\w[\w-]*$",
        description="Stage of training: in the order of their first parts. Every part has one, or none has",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Part:
        if (self.selection is None) == (self.where is None):
            raise ValueError("a part is either a selection or a condition")
        if self.rows is not None and self.weight is not None:
            raise ValueError("a part has rows or a weight, not both")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_used(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A recipe without stages and repetition is written as it was before there were any: equal mix, equal bytes.
        unused = {name for name, usual in (("stage", None), ("times", 1)) if getattr(self, name) == usual}
        return {name: value for name, value in write(self).items() if name not in unused}


class Mix(BaseModel):
    """A recipe: equal recipe and equal corpus give equal bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="What to call it")
    parts: tuple[Part, ...] = Field(min_length=1, description="Where the samples come from")
    format: str = Field("messages", description="messages, prompt-completion, alpaca, sharegpt or preference")
    seed: int = Field(0, description="Of the order of rows and of the random samples")

    @model_validator(mode="after")
    def _stages_for_all(self) -> Mix:
        if self.stages and any(part.stage is None for part in self.parts):
            raise ValueError("either every part has a stage or none has")
        return self

    @property
    def stages(self) -> list[str]:
        """The stages in their order; none where the mix has none."""
        return list(dict.fromkeys(part.stage for part in self.parts if part.stage is not None))


def load_mix(path: Path) -> Mix:
    """A recipe from its JSON file.

    Raises:
        CorpusError: the file is missing or is no JSON.
        OperatorError: a field is wrong.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"The mix {path} can't be read: {error}.", fix="give a JSON file with name and parts"
        ) from None
    if not isinstance(fields, dict):
        raise CorpusError(f"The mix {path} holds no JSON object.", fix='write {"name": ..., "parts": [...]}')
    return build_mix(fields)


def build_mix(fields: Mapping[str, Any]) -> Mix:
    """A recipe from its fields.

    Raises:
        OperatorError: a field is wrong.
    """
    try:
        return Mix(**fields)
    except ValidationError as error:
        raise translated("mix", error, Mix.model_fields) from None
