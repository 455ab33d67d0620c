"""Operators: what measures, chooses, rewrites or makes samples. Plain data, so that a manifest can rebuild one.

An operator is a frozen pydantic model. Its class variables name it; its fields are at once Python arguments, `--set`
options, form widgets and manifest lines. To add one: one file with one class, and its entry in the tuple of its kind
(`scorers.SCORERS`, `selectors.SELECTORS`, `normalizers.NORMALIZERS`, `synthesis.synthesizers.SYNTHESIZERS`).
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from curation.errors import OperatorError, unknown

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from curation.sample import Message


class Operator(BaseModel):
    """Name and parameters; nothing that can't be written into a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: ClassVar[str]
    """As typed on the command line, in kebab-case."""

    def spec(self) -> dict[str, Any]:
        """What rebuilds this operator: its name and every parameter, defaults included."""
        return {"name": self.name, "parameters": self.model_dump(mode="json")}

    def spec_json(self) -> str:
        """`spec()` with sorted keys, so that equal operators read the same."""
        return json.dumps(self.spec(), ensure_ascii=False, sort_keys=True)

    def in_corpus(self, folder: Path) -> Self:
        """This operator, with what it left open filled from the corpus folder (say, the model trained there)."""
        return self

    @classmethod
    def summary(cls) -> str:
        """First line of the docstring."""
        return (cls.__doc__ or "").strip().split("\n")[0]


def parted(value: Any) -> Any:
    """The values of a list that was written with commas, as `--set` gives it; anything else as it is.

    Commas inside brackets part nothing: `target=source IN ('a', 'b')` is one value.
    """
    if not isinstance(value, str):
        return value
    parts = re.findall(r"(?:\([^()]*\)|\[[^\[\]]*\]|[^,])+", value)
    return tuple(part.strip() for part in parts if part.strip())


NOT_REACHED = "the model was not reached: "
NOT_RUN = "the code was not run: "
NOT_YET = (NOT_REACHED, NOT_RUN)
"""How reasons begin that say nothing of the sample: its null is not stored, and the next run measures it again."""


class Scorer(Operator, ABC):
    """Measures samples: columns in, columns out, one row per sample in the same order."""

    batch_rows: ClassVar[int] = 20_000
    """Samples per batch, and so per committed shard."""
    whole: ClassVar[bool] = False
    """Whether the answer for one sample depends on the others: then all of them come as one batch, in order of
    ingestion, and samples that are added later make another run over all. A scorer that first measures something of
    each sample by itself may have a method `prepare` (`engines.InParts`), which workers share."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns of the corpus that `score` reads, besides `id`: texts, tags, other scores."""
        return "instruction", "response"

    @property
    def needs_vectors(self) -> bool:
        """Whether a batch has a column `vector`: Array(Float32, dimensions), unit length, null for samples without.

        They are of the embedding that the field `embedding` names, if the operator has one; else of the latest.
        """
        return False

    @property
    @abstractmethod
    def columns(self) -> dict[str, str]:
        """Column name -> DuckDB type; the first column is called like the scorer (in snake_case)."""

    @abstractmethod
    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        """One row per sample, in the order of `batch`, with exactly `columns` and, where something is null, `reason`.

        null means that it could not be measured; the `reason` column (String) then says why. Never an invented value.
        """

    def fingerprint(self) -> str:
        """What, besides the parameters, the numbers depend on: a hash of the model's weights, of a file of scores."""
        return ""


class Normalizer(Operator, ABC):
    """Rewrites samples; every sample it changes becomes a new version with the old one as its parent."""

    @abstractmethod
    def normalize(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The turns as they should be, as many as were given. Doing it twice changes nothing more.

        The rejected side of a preference pair comes with its question before it, as the chosen side does.
        """


@dataclass(frozen=True)
class Pool:
    """The candidates a selector chooses from."""

    frame: pl.DataFrame
    """`id`, `source` and the selector's `needs`, ordered by id."""
    vectors: np.ndarray | None = None
    """float32 (samples, dimensions), row i belongs to row i of `frame`; unit length unless the user's own are not."""
    targets: np.ndarray | None = None
    """float32 (targets, dimensions): vectors of the samples that the selector's `target` names."""
    given: np.ndarray | None = None
    """int64: rows of `frame` that are chosen already, in that order, where the selector has `begins_with`."""

    def __len__(self) -> int:
        return self.frame.height


@dataclass(frozen=True)
class Selection:
    """What a selector chose: a prefix of `ids` is the selection for a smaller budget."""

    ids: list[str]
    """Best first, no duplicates, exactly the budget where the pool allows it."""
    rejected: dict[str, str] = field(default_factory=dict)
    """id -> reason, for every sample of the pool that was not chosen."""


class Selector(Operator, ABC):
    """Chooses samples. Pure: it sees a pool and a budget, no corpus, clock or network."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns it reads besides `id` and `source`."""
        return ()

    @property
    def needs_vectors(self) -> bool:
        """Whether it reads `Pool.vectors`; samples without one are then not in the pool."""
        return False

    @property
    def target_where(self) -> str | None:
        """A condition on the corpus: the vectors of these samples, held out or not, are `Pool.targets`."""
        return None

    @property
    def begins_with(self) -> str | None:
        """Name of a stored selection to go on from: its samples come first and count towards the budget."""
        return None

    @abstractmethod
    def select(self, pool: Pool, budget: int) -> Selection:
        """Choose `budget` samples (1 <= budget <= len(pool)); deterministic for equal pool and parameters.

        Raises:
            OperatorError: fewer samples qualify than the budget asks for.
        """


AnyOperator = TypeVar("AnyOperator", bound=Operator)


def by_name(kind: str, operators: Sequence[type[AnyOperator]], name: str) -> type[AnyOperator]:
    """The operator class with this name.

    Raises:
        OperatorError: no operator is called so; the fix names the nearest one.
    """
    for operator in operators:
        if operator.name == name:
            return operator
    raise unknown(kind, name, [o.name for o in operators])


def build(
    kind: str, operators: Sequence[type[AnyOperator]], name: str, parameters: Mapping[str, Any] | None = None
) -> AnyOperator:
    """An operator from its name and parameters (strings are converted, as `--set` gives them).

    Raises:
        OperatorError: unknown name or parameter, or a value out of range.
    """
    operator = by_name(kind, operators, name)
    given = {
        key: None if value == "" and _may_be_off(operator, key) else value for key, value in (parameters or {}).items()
    }
    try:
        return operator(**given)
    except ValidationError as error:
        raise translated(f"{kind} {name!r}", error, operator.model_fields) from None


def _may_be_off(operator: type[AnyOperator], name: str) -> bool:
    """Whether a parameter can be null and is not by default: then nothing at all, `--set NAME=`, means null."""
    field = operator.model_fields.get(name)
    return field is not None and type(None) in get_args(field.annotation) and field.get_default() is not None


def translated(what: str, error: ValidationError, known: Iterable[str]) -> OperatorError:
    """A pydantic error as the two lines a user reads."""
    first = error.errors()[0]
    if not first["loc"] and first["type"] == "value_error":
        return OperatorError(f"{what}: {first['msg'].removeprefix('Value error, ')}.", fix="change what it names")
    where = str(first["loc"][0]) if first["loc"] else "parameters"
    names = ", ".join(known) or "none"
    if first["type"] == "extra_forbidden":
        message, fix = f"{what} has no parameter {where!r}.", f"choose one of: {names}"
    elif first["type"] == "missing":
        message, fix = f"{what} needs the parameter {where!r}.", f"add --set {where}=VALUE"
    else:
        got = f" (got {first['input']!r})" if not isinstance(first["input"], dict) else ""
        message = f"{what}: parameter {where!r}: {first['msg']}{got}."
        fix = f"give another value: --set {where}=VALUE"
    return OperatorError(message, fix=fix)
