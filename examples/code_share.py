"""A scorer of one's own: winnow score CORPUS examples/code_share.py --set fence='~~~'."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import Field

from curation.operators import Scorer


class CodeShare(Scorer):
    """How much of an answer is code: the share of its lines that stand between fences, 0..1."""

    name: ClassVar[str] = "code-share"
    needs: ClassVar[tuple[str, ...]] = ("response",)

    fence: str = Field("```", min_length=1, description="What opens and closes a block of code")

    @property
    def columns(self) -> dict[str, str]:
        return {"code_share": "DOUBLE", "code_blocks": "BIGINT"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        rows = [self._measured(response or "") for response in batch["response"]]
        return pl.DataFrame(rows, schema=["code_share", "code_blocks", "reason"], orient="row")

    def _measured(self, response: str) -> tuple[float | None, int, str | None]:
        lines = response.splitlines()
        fences = [i for i, line in enumerate(lines) if line.lstrip().startswith(self.fence)]
        if not lines or len(fences) % 2:
            return None, len(fences) // 2, "a block of code is left open" if lines else "the answer is empty"
        inside = sum(end - start - 1 for start, end in zip(fences[::2], fences[1::2], strict=True))
        return inside / len(lines), len(fences) // 2, None
