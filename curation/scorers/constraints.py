"""Whether an answer keeps the constraints on its form that the instruction sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl

NONE_SET = "the instruction sets no constraint that can be checked"
EMPTY = "the answer is empty"


class Constraints(Scorer):
    """Share of the instruction's constraints on form that the answer keeps: lengths, JSON, words to use, case ...

    Source: the idea of Zhou et al. 2023, IFEval (arXiv 2311.07911): instructions whose keeping a program can check. The
        rules, which find them in any instruction, are our own: see `curation.texts.instruction_constraints`.

    Columns:
        constraints (DOUBLE): share that is kept, 0..1; null, with the reason, where the last turn of the user sets none
            that can be checked, or the answer is empty.
        constraints_found (VARCHAR[]): all of them, in words; empty where there is none.
        constraints_failed (VARCHAR[]): those that are not kept.

    Differs from the source: IFEval's 541 prompts come with their checks; here they are read from the text, and what is
        not sure is not read. `In 50 words` is at most 55, `a 50-word story` 35 to 65.
    """

    name: ClassVar[str] = "constraints"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "messages", "response")

    @property
    def columns(self) -> dict[str, str]:
        return {"constraints": "DOUBLE", "constraints_found": "VARCHAR[]", "constraints_failed": "VARCHAR[]"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        from curation.texts.instruction_constraints import SUSPECT

        suspect = batch["instruction"].str.contains(SUSPECT).fill_null(False)
        rows: list[tuple[Any, ...]] = [(None, [], [], NONE_SET)] * batch.height
        for place in suspect.arg_true():
            rows[place] = _row(batch["messages"][place], batch["instruction"][place], batch["response"][place] or "")
        texts: Any = pl.List(pl.String)
        kinds: dict[str, Any] = {
            "constraints": pl.Float64,
            "constraints_found": texts,
            "constraints_failed": texts,
            "reason": pl.String,
        }
        return pl.DataFrame(rows, schema=kinds, orient="row")


def _row(messages: Any, instruction: str, response: str) -> tuple[float | None, list[str], list[str], str | None]:
    turns = [] if messages is None else list(messages)
    asked = [turn["content"] or "" for turn in turns if turn["role"] == "user"]
    share, found, failed = kept_share(asked[-1] if asked else instruction, response)
    if found and not response.strip():
        return None, found, [], EMPTY
    return share, found, failed, NONE_SET if share is None else None


def kept_share(instruction: str, response: str) -> tuple[float | None, list[str], list[str]]:
    """(share kept, constraints, those not kept); the share is null where the instruction sets none."""
    from curation.texts.instruction_constraints import constraints_in

    constraints = constraints_in(instruction)
    failed = [constraint.name for constraint in constraints if not constraint.kept(response)]
    share = 1 - len(failed) / len(constraints) if constraints else None
    return share, [constraint.name for constraint in constraints], failed
